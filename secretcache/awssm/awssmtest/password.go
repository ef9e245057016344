package awssmtest

import (
	"crypto/rand"
	"math/big"
	"strings"
)

const (
	lower       = "abcdefghijklmnopqrstuvwxyz"
	upper       = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	letters     = lower + upper
	digits      = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

func (s *Server) getRandomPassword(in *input) (output, *apiError) {
	length := 32
	if in.PasswordLength != nil {
		length = *in.PasswordLength
	}
	var sets []string
	for _, c := range []struct {
		use   bool
		chars string
	}{
		{!in.ExcludeLowercase, lower},
		{!in.ExcludeUppercase, upper},
		{!in.ExcludeNumbers, digits},
		{!in.ExcludePunctuation, punctuation},
		{in.IncludeSpace, " "},
	} {
		chars := strings.Map(func(r rune) rune {
			if strings.ContainsRune(in.ExcludeCharacters, r) {
				return -1
			}
			return r
		}, c.chars)
		if c.use && chars != "" {
			sets = append(sets, chars)
		}
	}
	each := in.RequireEachIncludedType == nil || *in.RequireEachIncludedType
	switch {
	case length < 1 || length > 4096:
		return nil, tooLong("passwordLength", "4096")
	case len(sets) == 0 || each && length < len(sets):
		return nil, bad("InvalidParameterException", "Password length is too short based on the required types.")
	}
	var b []byte
	if each {
		for _, set := range sets {
			b = append(b, pickChars(set, 1)...)
		}
	}
	b = append(b, pickChars(strings.Join(sets, ""), length-len(b))...)
	for i := range b {
		j := randN(i + 1)
		b[i], b[j] = b[j], b[i]
	}
	return output{"RandomPassword": string(b)}, nil
}

func pickChars(set string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = set[randN(len(set))]
	}
	return string(b)
}

func randN(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // never
	}
	return int(i.Int64())
}
