package control

import (
	"slices"

	"kita/control/keyring"
)

// newKeys makes the ring of the keys that may connect, which lie in
// pub_keys_path.
func newKeys(opt Options) *keyring.Ring {
	return keyring.NewRing(func() []string { return opt.Config().PubKeysPath })
}

// newLegacyKeys makes the ring of those whose replayable packets are accepted
// besides: a key must lie in both.
func newLegacyKeys(opt Options) *keyring.Ring {
	return keyring.NewRing(func() []string { return opt.Config().LegacyKeysPath })
}

// keyProblems has a line for each file and directory of keys that cannot be
// used.
func (s *Server) keyProblems() []string {
	problems := s.keys.Problems()
	if !s.opt.Encrypt {
		return problems
	}
	for _, problem := range s.legacyKeys.Problems() {
		// A directory may be of both.
		if !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	return problems
}
