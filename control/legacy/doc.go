// Package legacy is the text protocol of supervisor-rs 0.8, byte for byte:
// Answer is the server's half, Exchange the client's.
//
// One connection carries one request and one answer, without lengths or line
// ends. Scripts match on the answers, so their wording, spelling mistakes
// included, is a format and not prose. What supervisor-rs did is described in
// the project's notes on it; where it gave no usable answer (it panicked), the
// text is kita's own.
//
// Package control calls Answer with the bytes of a request and decides before
// that, with Pending, whether all of them are there.
package legacy
