package sshd

import (
	"reflect"
	"unsafe"

	"golang.org/x/crypto/ssh"
)

// drain takes what package ssh has queued of a connection that has ended, and
// returns when its goroutines have ended.
//
// A client that is authenticated can have the package give the connection up
// while its reader waits for room in the queue, which then waits for ever: three
// goroutines and up to four megabytes for each connection. There is no way to
// the queue but through a field that is not exported; where a later version has
// none of that name and type, nothing is done, and a test fails.
func drain(conn ssh.Conn) {
	queue := queueOf(conn)
	if queue == nil {
		return
	}
	for range queue {
	}
	_ = conn.Wait()
}

// queueOf is connection.transport.incoming, nil where there is no such thing.
func queueOf(conn ssh.Conn) <-chan []byte {
	v := reflect.ValueOf(conn)
	for _, name := range []string{"transport", "incoming"} {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil
		}
		v = v.FieldByName(name)
	}
	if !v.IsValid() || !v.CanAddr() || v.Type() != reflect.TypeFor[chan []byte]() {
		return nil
	}
	return *(*chan []byte)(unsafe.Pointer(v.UnsafeAddr()))
}
