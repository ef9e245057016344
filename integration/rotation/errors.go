package rotation

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
)

// errGrant is for what the database says of grants. It is not quoted: MariaDB's rows
// have the password's hash.
var errGrant = errors.New("a grant is of a form that cannot be copied")

// apiError returns what may be said of a failed call: the service's answer, or why
// there is none. The SDK's own tree of errors holds requests and answers.
func apiError(op string, err error) error {
	var answer interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}
	if errors.As(err, &answer) {
		return fmt.Errorf("%s: %w", op, answer)
	}
	return fmt.Errorf("%s: %w", op, transportError(err))
}

// transportError returns what may be said of an error that is no server's answer:
// not the address, which is in the secret, and nothing that the errors around it
// hold, such as pgx's of its configuration.
func transportError(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, errGrant, vendordb.ErrOracleQuote} {
		if errors.Is(err, known) {
			return known
		}
	}
	var errno syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return errors.New("the host's name cannot be resolved")
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, sqldriver.ErrBadConn):
		return errors.New("the connection was closed")
	}
	return fmt.Errorf("there is no usable answer (%T)", innermost(err))
}

// innermost returns the first cause of all.
func innermost(err error) error {
	for {
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[0]
			}
		}
		if next == nil {
			return err
		}
		err = next
	}
}
