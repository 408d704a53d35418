// Command etcd puts values into an etcd server as fast as it takes them, from
// many clients, and prints how many puts a second were acknowledged.
//
//	etcd -endpoint 127.0.0.1:2379 -clients 256 -seconds 3
//
// The clients share as many connections as etcd's own benchmark is run with
// in its published figures (100 for 1,000 clients): one for ten clients.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func main() {
	endpoint := flag.String("endpoint", "127.0.0.1:2379", "client address of the server")
	clients := flag.Int("clients", 256, "puts in flight")
	size := flag.Int("bytes", 256, "bytes of a value")
	seconds := flag.Float64("seconds", 3, "how long")
	flag.Parse()
	rate, err := run(*endpoint, *clients, *size, time.Duration(*seconds*float64(time.Second)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench raft, etcd:", err)
		os.Exit(1)
	}
	fmt.Println(rate)
}

func run(endpoint string, clients, size int, length time.Duration) (float64, error) {
	conns := make([]*clientv3.Client, max(clients/10, 1))
	for i := range conns {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns[i] = c
	}
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	value := strings.Repeat("x", size)
	begun := time.Now()
	for i := range clients {
		wg.Go(func() {
			c := conns[i%len(conns)]
			for ctx.Err() == nil {
				if _, err := c.Put(ctx, fmt.Sprintf("key-%d", rand.IntN(100_000)), value); err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					failed.Store(&err) // on a busy machine some time out: those are not counted, and the client goes on
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begun)
	if err := failed.Load(); err != nil && done.Load() == 0 {
		return 0, *err
	}
	return float64(done.Load()) / took.Seconds(), nil
}
