// Package sqlmatch recognizes SQL statements, for stand-ins of databases that know a
// handful of them: a text is split into tokens, and a pattern says what they have to be.
package sqlmatch

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Kind is one of token.
type Kind int

// Kinds of tokens.
const (
	Word   Kind = iota // letters, digits, _, @, # and $: SELECT, 42, @@SPID
	Name               // "a ""b""" or [a ]]b], of which Text is a "b" and a ]b
	String             // 'it''s' or N'it''s', of which Text is it's
	Sign               // any other character
)

// A Token is a part of a statement.
type Token struct {
	Kind Kind
	Text string
}

// Split splits a text. There are no comments. An error says that a quote has no end.
func Split(text string) ([]Token, error) {
	var tokens []Token
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		t, rest, err := first(text)
		if err != nil {
			return nil, err
		}
		tokens, text = append(tokens, t), rest
	}
	return tokens, nil
}

// first returns the token with which a text begins.
func first(text string) (t Token, rest string, err error) {
	national := strings.HasPrefix(text, "N'") || strings.HasPrefix(text, "n'")
	if rest = strings.TrimLeftFunc(text, inWord); len(rest) < len(text) && !national {
		return Token{Word, text[:len(text)-len(rest)]}, rest, nil
	}
	if national {
		text = text[1:]
	}
	kind, end := Name, text[:1]
	switch text[0] {
	case '"':
	case '[':
		end = "]"
	case '\'':
		kind = String
	default:
		_, n := utf8.DecodeRuneInString(text)
		return Token{Sign, text[:n]}, text[n:], nil
	}
	inside, rest, ok := quoted(text[1:], end)
	if !ok {
		return t, "", fmt.Errorf("%s without an end", text[:1])
	}
	return Token{kind, inside}, rest, nil
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_@#$", r)
}

// quoted reads up to a quote that is not doubled.
func quoted(text, end string) (inside, rest string, ok bool) {
	for {
		before, after, found := strings.Cut(text, end)
		inside += before
		if !found {
			return "", "", false
		}
		if text, found = strings.CutPrefix(after, end); !found {
			return inside, after, true
		}
		inside += end
	}
}

// A Pattern is what tokens have to be: words and signs in whichever case, names and
// strings as they are, and
//
//	<name>    a Name, or a Word that does not begin with a digit
//	<string>  a String
//	<number>  a Word of digits
//	<rest>    all that follows, at least one token
//	A|B       one of these words
//
// Each of the last five is an argument.
type Pattern []element

// An element is a token that has to be there, or what an argument may be.
type element struct {
	literal Token
	arg     func(Token) bool // nil for a literal
	rest    bool
}

// Compile reads a pattern. It panics if there is a quote without an end.
func Compile(text string) Pattern {
	tokens, err := Split(text)
	if err != nil {
		panic(err)
	}
	sign := func(i int, text string) bool { return i < len(tokens) && tokens[i] == Token{Sign, text} }
	var p Pattern
	for i := 0; i < len(tokens); i++ {
		switch {
		case sign(i, "<") && sign(i+2, ">"):
			p = append(p, placeholder(tokens[i+1].Text))
			i += 2
		case sign(i+1, "|"):
			words := []Token{tokens[i]}
			for ; sign(i+1, "|"); i += 2 {
				words = append(words, tokens[i+2])
			}
			p = append(p, element{arg: func(t Token) bool { return slices.ContainsFunc(words, t.matches) }})
		default:
			p = append(p, element{literal: tokens[i]})
		}
	}
	return p
}

func placeholder(name string) element {
	switch name {
	case "name":
		return element{arg: func(t Token) bool { return t.Kind == Name || t.Kind == Word && !isDigit(t.Text[0]) }}
	case "string":
		return element{arg: func(t Token) bool { return t.Kind == String }}
	case "number":
		return element{arg: func(t Token) bool { return t.Kind == Word && strings.Trim(t.Text, "0123456789") == "" }}
	case "rest":
		return element{rest: true}
	}
	panic("no placeholder <" + name + ">")
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// matches reports whether a token is another one, words and signs in whichever case.
func (t Token) matches(other Token) bool {
	if t.Kind == Word || t.Kind == Sign {
		return t.Kind == other.Kind && strings.EqualFold(t.Text, other.Text)
	}
	return t == other
}

// Match reports whether tokens are what the pattern says, and returns its arguments.
func (p Pattern) Match(tokens []Token) (args []Token, ok bool) {
	for i, e := range p {
		switch {
		case i == len(tokens):
			return nil, false
		case e.rest:
			return append(args, tokens[i:]...), true
		case e.arg == nil && !e.literal.matches(tokens[i]), e.arg != nil && !e.arg(tokens[i]):
			return nil, false
		case e.arg != nil:
			args = append(args, tokens[i])
		}
	}
	return args, len(tokens) == len(p)
}
