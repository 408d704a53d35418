package proxy

import "testing"

// haproxy lists members in the order in which they came.
func TestMembersAreListedInTheOrderOfTheirAddresses(t *testing.T) {
	t.Parallel()
	stats, err := parseStats(`# pxname,svname,status,stot,addr,type
b_81,s1,no check,1,10.85.0.3:80,2
b_80,s1,no check,1,10.85.0.10:80,2
b_80,s2,no check,1,10.85.0.4:80,2
b_80,s3,no check,1,[fd00::2]:80,2
`)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, s := range stats {
		got += s.Member + " "
	}
	if want := "10.85.0.4:80 10.85.0.10:80 [fd00::2]:80 10.85.0.3:80 "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
