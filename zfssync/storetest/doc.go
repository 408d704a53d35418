// Package storetest is what every driver of zfssync.Store has to pass: the same behaviour, whatever it stores on.
//
// Laws:
//
//   - A test says what a user of the interface may rely on, and looks at files, never at a driver's own layout.
//   - What a driver cannot do it says in Features; the suite then checks that it says why, and that it refuses.
//
// Flow: a driver's test calls Conform with a function that opens empty stores.
package storetest
