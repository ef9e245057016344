package tdsserver

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is made of it
)

// The parts of MS-NLMP that a server with NTLMv2 needs.
const (
	ntlmSignature = "NTLMSSP\x00"

	ntlmUnicode         = 1 << 0
	ntlmRequestTarget   = 1 << 2
	ntlmNTLM            = 1 << 9
	ntlmAlwaysSign      = 1 << 15
	ntlmTargetDomain    = 1 << 16
	ntlmExtendedSession = 1 << 19
	ntlmTargetInfo      = 1 << 23

	avEnd          = 0
	avComputerName = 1
	avDomainName   = 2
)

// newChallenge returns a CHALLENGE_MESSAGE, 2.2.1.2 of MS-NLMP.
func newChallenge() []byte {
	name := toUTF16("STANDIN")
	var info []byte
	for _, id := range []uint16{avDomainName, avComputerName} {
		info = binary.LittleEndian.AppendUint16(info, id)
		info = binary.LittleEndian.AppendUint16(info, uint16(len(name)))
		info = append(info, name...)
	}
	info = append(info, avEnd, 0, 0, 0)

	const size = 56
	field := func(b []byte, n, offset int) []byte {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		return binary.LittleEndian.AppendUint32(b, uint32(offset))
	}
	b := append([]byte(ntlmSignature), 2, 0, 0, 0)
	b = field(b, len(name), size)
	b = binary.LittleEndian.AppendUint32(b, ntlmUnicode|ntlmRequestTarget|ntlmNTLM|ntlmAlwaysSign|ntlmTargetDomain|ntlmExtendedSession|ntlmTargetInfo)
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce)
	b = append(append(b, nonce...), make([]byte, 8)...)
	b = field(b, len(info), size+len(name))
	b = append(b, make([]byte, 8)...)
	return slices.Concat(b, name, info)
}

// readAuthenticate reads an AUTHENTICATE_MESSAGE, 2.2.1.3, the answer to a challenge.
func readAuthenticate(b, challenge []byte) (user string, right func(password string) bool, err error) {
	if len(b) < 64 || !bytes.HasPrefix(b, []byte(ntlmSignature+"\x03\x00\x00\x00")) {
		return "", nil, errors.New("no AUTHENTICATE_MESSAGE")
	}
	field := func(at int) []byte {
		n, from := uint64(binary.LittleEndian.Uint16(b[at:])), uint64(binary.LittleEndian.Uint32(b[at+4:]))
		if from+n > uint64(len(b)) {
			return nil
		}
		return b[from : from+n]
	}
	response, domain, name := field(20), fromUTF16(field(28)), fromUTF16(field(36))
	right = func(password string) bool {
		if len(response) < 16+28 {
			return false // NTLMv1
		}
		// NTOWFv2 and NTProofStr, 3.3.2.
		h := md4.New()
		_, _ = h.Write(toUTF16(password))
		key := hmacMD5(h.Sum(nil), toUTF16(strings.ToUpper(name)+domain))
		return hmac.Equal(response[:16], hmacMD5(key, challenge[24:32], response[16:]))
	}
	return domain + `\` + name, right, nil
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return h.Sum(nil)
}
