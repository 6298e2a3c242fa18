package main

import (
	"errors"
	"strconv"
	"time"
)

// lengthValue is the value of a flag that is a length of time. That of package
// pflag does not say how to write one.
type lengthValue struct{ of *time.Duration }

func (v lengthValue) String() string {
	if v.of == nil {
		return "0s"
	}
	return v.of.String()
}

func (v lengthValue) Set(text string) error {
	length, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("give a length of time with its unit, as in 30s or 2m")
	}
	*v.of = length
	return nil
}

func (lengthValue) Type() string { return "duration" }

// countValue is the value of a flag that is a whole number.
type countValue struct{ of *int }

func (v countValue) String() string {
	if v.of == nil {
		return "0"
	}
	return strconv.Itoa(*v.of)
}

func (v countValue) Set(text string) error {
	count, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("give a whole number")
	}
	*v.of = count
	return nil
}

func (countValue) Type() string { return "int" }
