package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Exit codes. docs/command.md has them.
const (
	exitOK         = 0
	exitOther      = 1
	exitUsage      = 2  // the arguments, or the data source name
	exitIdentity   = 3  // AWS credentials and region
	exitPermission = 4  // of the AWS identity
	exitNoSecret   = 5  // no such secret or version
	exitSource     = 6  // the source of secrets does not answer, or not as it should
	exitContent    = 7  // of the secret
	exitNetwork    = 8  // on the way to the database
	exitTLS        = 9  // with the database
	exitRejected   = 10 // the database rejected the login
	exitDatabase   = 11 // the database had another error
)

// A failure is why a step failed.
type failure struct {
	c    *check
	step string // in which it was noticed
	err  error
	text string // of err
}

// reason returns the text without what the first line says anyway.
func (f *failure) reason() string {
	e := (*driver.Error)(nil)
	if errors.As(f.err, &e) && e.Err != nil {
		return f.c.clean(e.Err.Error())
	}
	return f.text
}

// has reports whether the error's text has one of these parts, without the secret's id, which may
// be "prod/proxy".
func (f *failure) has(parts ...string) bool {
	text := f.text
	if id := f.c.id; id != "" {
		text = strings.NewReplacer(strconv.Quote(id), "", "secret:"+id, "", "resource: "+id, "").Replace(text)
	}
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// api returns the code of the AWS service's error, or "".
func (f *failure) api() string {
	var e interface {
		error
		ErrorCode() string
	}
	if errors.As(f.err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// A cause is a kind of failures: the first of the list that matches is the one.
type cause struct {
	code   string
	exit   int
	at     string // the step that it belongs to; empty: where it was noticed
	match  func(f *failure) bool
	says   func(f *failure) string // the cause, for the first line
	advice string
}

// fixed is a cause's sentence that is always the same.
func fixed(text string) func(*failure) string { return func(*failure) string { return text } }

// causes are those of each step.
var causes = map[string][]cause{
	stepDSN:    dsnCauses,
	stepSource: sourceCauses,
	stepSecret: slices.Concat(identityCauses, secretCauses),
	stepFields: fieldCauses,
	stepName:   networkCauses,
	stepTCP:    slices.Concat(tlsCauses, loginCauses, networkCauses),
}

// diagnose returns the cause of a failure.
func diagnose(f *failure) cause {
	for _, one := range causes[f.step] {
		if one.match(f) {
			if one.at == "" {
				one.at = f.step
			}
			return one
		}
	}
	return cause{code: "other", exit: exitOther, at: f.step, says: func(f *failure) string { return f.text }}
}

// interrupted is the cause of all that fails after SIGINT or SIGTERM.
var interrupted = cause{code: "interrupted", exit: exitOther, says: fixed("interrupted")}

var dsnCauses = []cause{
	{"database-url", exitUsage, "", func(f *failure) bool { return isDatabaseURL(f.c.target.dsn) },
		fixed("this is a database's own URL or connection string, which may hold a password, and not the name of a secret (it is not shown)"),
		`Give the name or ARN of a secret that holds the credentials: sqlsecrets check "prod/app/db?sslmode=verify-full". If the URL had a password, your shell's history has it now.`},
	{"region-typo", exitUsage, "", func(f *failure) bool { return f.has("did you mean") && f.has("AWS has no") },
		func(f *failure) string { return "the region is misspelt: " + f.reason() }, "Correct the region in the data source name."},
	{"wrong-engine", exitContent, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrEngineMismatch) },
		func(f *failure) string { return "the driver is for another engine: " + f.reason() }, "Use the driver of that engine, or correct it in the data source name."},
	{"arn", exitUsage, "", func(f *failure) bool { return f.has("the ARN") },
		func(f *failure) string { return "the ARN is not one of a secret: " + f.reason() }, "Copy the secret's whole ARN, up to the six characters that AWS adds to the name."},
	{"data-source-name", exitUsage, "", func(f *failure) bool { return f.has("the driver is not one of") },
		func(f *failure) string { return f.reason() }, "Give one of these, or no driver: then the data source name or the secret says the engine."},
	{"data-source-name", exitUsage, "", func(f *failure) bool { return f.c.target.dsn == "" },
		fixed("the data source name is empty"), adviceDSN},
	{"data-source-name", exitUsage, "", func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, adviceDSN},
}

const adviceDSN = "The README has the parameters of a data source name, and docs/ those of each engine."

var sourceCauses = []cause{
	{"configuration", exitUsage, "", func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, "Correct the environment variable."},
}

const proxyAdvice = "Check HTTPS_PROXY and NO_PROXY: the proxy must let the program reach the Secrets Manager endpoint, or the endpoint must be in NO_PROXY."

var identityCauses = []cause{
	{"region-typo", exitIdentity, "", func(f *failure) bool { return awsregion.Meant(f.c.region) != "" && !answered(f) },
		func(f *failure) string {
			return fmt.Sprintf("AWS has no region %q; %q may be meant", f.c.region, awsregion.Meant(f.c.region))
		}, "Correct the region."},
	{"no-region", exitIdentity, "", func(f *failure) bool { return f.has("no AWS region") },
		fixed("no AWS region is known"), `Set AWS_REGION, give "region" in the data source name, or name the secret by its ARN.`},
	{"no-credentials", exitIdentity, "", func(f *failure) bool { return f.has("no AWS credentials found") },
		fixed("no AWS credentials found"), "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine, task or pod a role."},
	{"no-credentials", exitIdentity, "", func(f *failure) bool { return f.has("failed to get shared config profile") },
		fixed("no AWS credentials: the AWS configuration has no such profile"), "Check the name, in the data source name or AWS_PROFILE, and that this user's configuration has it: aws configure list-profiles."},
	{"expired-credentials", exitIdentity, "", func(f *failure) bool {
		return strings.HasPrefix(f.api(), "ExpiredToken") || f.api() == "RequestExpired" || f.has("is expired", "has expired") && f.has("token")
	}, fixed("the AWS credentials have expired"), "Get new ones: for example by aws sso login, or a new session. A token in the environment does not renew itself."},
	{"wrong-credentials", exitIdentity, "", func(f *failure) bool {
		switch f.api() {
		case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidAccessKeyId", "IncompleteSignature":
			return true
		}
		return false
	}, fixed("AWS does not accept the credentials"), "Check the access key, the secret access key, and the session token that belongs to them; and the clock of this machine."},
}

// action finds the action in the service's text for a missing permission.
var action = regexp.MustCompile(`not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9*]+)`)

// missing returns the action that the AWS identity may not use.
func missing(f *failure) string {
	if m := action.FindStringSubmatch(f.text); m != nil {
		return m[1]
	}
	if f.has("Access to KMS is not allowed") || f.api() == "DecryptionFailure" {
		return "kms:Decrypt"
	}
	return "secretsmanager:GetSecretValue"
}

// isPartialARN reports whether a secret's ARN seems to lack the six characters that AWS adds to
// the name. A word of six letters at the end is hardly what AWS adds.
func isPartialARN(id string) bool {
	return strings.HasPrefix(id, "arn:") && (!suffix.MatchString(id) || wordSuffix.MatchString(id))
}

var (
	suffix     = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)
	wordSuffix = regexp.MustCompile(`-[a-z]{6}$`)
)

var secretCauses = []cause{
	{"access-denied-kms", exitPermission, "", func(f *failure) bool { return strings.HasPrefix(missing(f), "kms:") },
		fixed("access denied: the AWS identity lacks kms:Decrypt for the key that the secret is encrypted with"),
		"Allow kms:Decrypt for that key, in the identity's policy and in the key's. Check that the key is enabled."},
	{"access-denied-role", exitPermission, "", func(f *failure) bool { return strings.HasPrefix(missing(f), "sts:") },
		func(f *failure) string {
			return "access denied: the AWS identity lacks " + missing(f) + " for the role"
		},
		"Allow it in the identity's policy, and name the identity in the role's trust policy; check externalId."},
	{"access-denied-partial-arn", exitPermission, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrAccessDenied) && isPartialARN(f.c.id)
	}, func(f *failure) string {
		return "access denied: the AWS identity lacks " + missing(f) + " for this ARN, which seems to be partial: it lacks the six characters that AWS adds to the name"
	}, "Give the full ARN: a policy that has it does not allow the partial one."},
	{"access-denied", exitPermission, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrAccessDenied) },
		func(f *failure) string {
			return "access denied: the AWS identity lacks " + missing(f) + " for this secret"
		},
		"Allow it in the identity's policy for the secret's ARN. A policy of the secret, of the VPC endpoint or of the organization may forbid it as well."},
	{"deleted", exitNoSecret, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrNotFound) && f.has("deletion", "deleted")
	}, fixed("the secret is marked for deletion"), "Restore it (aws secretsmanager restore-secret), or name another one."},
	{"partial-arn", exitNoSecret, "", func(f *failure) bool {
		return errors.Is(f.err, secretcache.ErrNotFound) && isPartialARN(f.c.id)
	}, func(f *failure) string {
		return "there is no secret with this ARN in " + f.c.where() + ", and the ARN seems to be partial: it lacks the six characters that AWS adds to the name"
	}, "Give the full ARN, or the name."},
	{"not-found", exitNoSecret, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrNotFound) },
		func(f *failure) string {
			if f.c.region == "" {
				return "the source " + f.c.where() + " has no such secret"
			}
			return "there is no such secret in " + f.c.where() + "; the name or the region is wrong"
		},
		"Check the name, the region and the account: aws secretsmanager list-secrets --region REGION. docs/sources.md has how other sources find a secret."},
	{"no-version", exitNoSecret, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrNoVersion) },
		func(f *failure) string { return "the secret has no version with the stage " + f.c.plan.Stage },
		"Store a value in the secret, or check the stage in the data source name."},
	{"throttled", exitSource, "", func(f *failure) bool { return errors.Is(f.err, secretcache.ErrThrottled) },
		fixed("Secrets Manager throttles the account's requests"),
		"Something calls it very often: CloudTrail says who. Programs with this library keep a secret for an hour."},
	{"proxy", exitSource, "", func(f *failure) bool { return f.has("proxy") },
		fixed("an HTTP proxy is in the way to Secrets Manager"), proxyAdvice},
	{"agent-not-running", exitSource, "", func(f *failure) bool { return f.c.asksAgent() && refused(f.err) },
		fixed("the Secrets Manager Agent or the Lambda extension does not run: nothing listens at its port"),
		"Start it, or check its port: PARAMETERS_SECRETS_EXTENSION_HTTP_PORT, or endpoint in the data source name. docs/agent.md says more."},
	{"agent-token", exitSource, "", func(f *failure) bool { return f.c.asksAgent() && f.has("no token") },
		fixed("the token of the Secrets Manager Agent is not there: the agent does not run on this machine, or this process may not read the token"),
		"Start the agent, or set AWS_TOKEN to the token or to file:// and its path. docs/agent.md says more."},
	{"source-tls", exitSource, "", func(f *failure) bool { return f.has("x509:", "tls:") },
		fixed("TLS with Secrets Manager fails"), "A proxy may open the connection: give its authority by AWS_CA_BUNDLE."},
	{"source-unreachable", exitSource, "", func(f *failure) bool { return !answered(f) && f.has("of AWS STS") },
		fixed("AWS STS cannot be reached, or does not answer, so there are no credentials of the role"),
		"Check the network's way to AWS STS: a VPC endpoint of its own, NAT, DNS, security groups; and AWS_ENDPOINT_URL_STS."},
	{"source-unreachable", exitSource, "", func(f *failure) bool { return !answered(f) },
		func(f *failure) string { return "Secrets Manager cannot be reached, or does not answer" },
		"Check the network's way to the endpoint: a VPC endpoint, NAT, DNS, security groups; and AWS_ENDPOINT_URL_SECRETS_MANAGER."},
	{"source", exitSource, "", func(*failure) bool { return true },
		func(f *failure) string { return "the secret could not be read: " + f.reason() }, ""},
}

// refused reports whether nothing listens at a port. Some errors have no more of it than a text,
// which is another one on Windows.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) ||
		err != nil && (strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "actively refused"))
}

// answered reports whether the source gave an answer.
func answered(f *failure) bool {
	var network net.Error
	return f.api() != "" || f.has("status ") || !(errors.As(f.err, &network) || errors.Is(f.err, context.DeadlineExceeded) || f.has("dial tcp", "no answer", "connection"))
}

var fieldCauses = []cause{
	{"data-source-name", exitUsage, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrBadDSN) },
		func(f *failure) string { return f.reason() }, adviceDSN},
	{"wrong-engine", exitContent, "", func(f *failure) bool { return errors.Is(f.err, driver.ErrEngineMismatch) },
		func(f *failure) string { return "the secret is for another engine than the driver: " + f.reason() }, "Use the driver of the secret's engine."},
	{"no-engine", exitContent, "", func(f *failure) bool { return f.has(`key "engine" is missing`) },
		func(f *failure) string {
			return `the secret does not say the engine, as those that RDS or Redshift manages`
		}, `Give "engine" in the data source name, or use the driver of the engine, such as secretsmanager-postgres.`},
	{"no-host", exitContent, "", func(f *failure) bool { return f.has("is missing; secrets that RDS or Redshift manages have none") },
		fixed("the secret has no host, as those that RDS or Redshift manages"), `Give "host" (and "dbname") in the data source name.`},
	{"wrong-key", exitContent, "", func(f *failure) bool { return f.has("is missing, and ") },
		func(f *failure) string { return "the secret has another key than is expected: " + f.reason() }, "Give the name of the key in the data source name, or rename it in the secret."},
	{"malformed-secret", exitContent, "", func(*failure) bool { return true },
		func(f *failure) string { return "the secret's value cannot be used: " + f.reason() }, "The README has the keys that a secret should have."},
}

var tlsCauses = []cause{
	{"tls-file", exitTLS, stepTLS, func(f *failure) bool {
		return !f.c.dialed() && (errors.Is(f.err, fs.ErrNotExist) || f.has("no such file"))
	}, func(f *failure) string { return "a file that the data source name names is missing: " + f.reason() }, "Check the path, and that it is in the container or on the machine where this runs."},
	{"tls-name", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.HostnameError](f.err) || f.has("certificate is valid for", "cannot validate certificate for", "not valid for any names")
	}, fixed("the server's certificate is for another name than the host"), "Connect by a name that is in the certificate: with RDS the endpoint's name, and no CNAME or IP address."},
	{"tls-authority", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.UnknownAuthorityError](f.err) || f.has("signed by unknown authority", "certificate is not trusted")
	}, fixed("the server's certificate is by an unknown authority"), "Name a file with the authority: for RDS global-bundle.pem. docs/tls.md has the parameter of each engine."},
	{"tls-certificate", exitTLS, stepTLS, func(f *failure) bool {
		return is[x509.CertificateInvalidError](f.err) || f.has("has expired or is not yet valid", "not valid now")
	}, fixed("the server's certificate is not valid now"), "Renew it, and check the clock of this machine."},
	{"tls", exitTLS, stepTLS, func(f *failure) bool { return f.has("neither yes nor no") },
		fixed("the server answers the request for TLS as no PostgreSQL server does"), "Check that host and port are the database's."},
	{"tls-secret", exitTLS, stepTLS, func(f *failure) bool { return noTLS(f) && f.c.plan.Encrypt && len(f.c.tlsParams()) == 0 },
		fixed(`the secret's "ssl" requires TLS, and the server has none`), `Turn TLS on at the server, or remove "ssl" from the secret.`},
	{"tls-refused", exitTLS, stepTLS, noTLS,
		fixed("the server has no TLS, and the data source name requires it"), "Turn TLS on at the server, or check that host and port are the database's."},
	{"tls-required", exitTLS, stepTLS, func(f *failure) bool {
		return f.has("requires encryption, and", "the server requires it, and", "the server may require it, and", "require_secure_transport", "requires TLS")
	}, func(f *failure) string {
		if f.has("the server may require it") {
			return "the server has no rule for this login without TLS (pg_hba.conf), and the data source name turns TLS off"
		}
		return "the server requires TLS, and the data source name turns it off"
	}, "Leave that parameter out."},
	{"tls", exitTLS, stepTLS, func(f *failure) bool { return f.has("tls: ", "x509: ", "TLS Handshake", "TLS with ") },
		func(f *failure) string { return "TLS with the server fails: " + f.reason() }, "docs/tls.md has what each parameter asks for."},
}

// noTLS reports whether TLS was asked for, and the server has none.
func noTLS(f *failure) bool {
	return f.has("server refused TLS connection", "server does not support TLS", "server does not support encryption", "does not answer with TLS", "first record does not look like a TLS handshake")
}

// is reports whether err's tree has a T.
func is[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

var loginCauses = []cause{
	{"no-driver", exitUsage, stepTCP, func(f *failure) bool { return f.has("no driver is registered as") },
		fixed("this command is built without IBM's driver for Db2, so it does not log in there"), "All that is above was checked. Use IBM's db2cli validate for the rest."},
	{"account-locked", exitRejected, stepLogin, func(f *failure) bool { return f.c.accountLocked(f.err) },
		fixed("the database has locked the account"), "Unlock it, and find out who logs in with a wrong password. This command sends at most one login for each version of the secret."},
	{"no-database", exitDatabase, stepLogin, func(f *failure) bool { return f.c.noDatabase(f.err) },
		func(f *failure) string {
			return fmt.Sprintf("the server has no database %q", f.c.field("dbname").Value)
		}, `Correct it in the secret, or give "dbname" in the data source name.`},
	{"rotation-under-way", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) && f.c.pending != "" },
		func(f *failure) string {
			return "the database rejected the password of every version, and a rotation is under way: " + f.c.pending
		}, "Wait until it is done. If it does not end, look at the log of the rotation function, and rotate again."},
	{"iam-rejected", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) && f.c.plan.IAM },
		fixed("the database rejected the IAM token"), "Allow rds-db:connect for the user, grant rds_iam (PostgreSQL) or AWSAuthenticationPlugin (MySQL), and use the endpoint's name as the host."},
	{"wrong-password", exitRejected, stepLogin, func(f *failure) bool { return errors.Is(f.err, driver.ErrAuthFailed) },
		fixed("the database rejected the user or the password in the secret"), "Somebody changed one of the two. Rotate the secret, or write the database's password into it. Check that host and port are those of the right database."},
	{"database", exitDatabase, stepLogin, func(f *failure) bool { return f.c.reached() && !errors.Is(f.err, context.DeadlineExceeded) },
		func(f *failure) string { return "the login failed: " + f.reason() }, "Check that host and port are those of a database of this engine. The server's log may say more."},
	{"no-answer", exitDatabase, stepLogin, func(f *failure) bool { return f.c.reached() },
		fixed("the server accepts connections, and does not answer in time"), "It may be overloaded, or no database of this engine: check host and port."},
}

var networkCauses = []cause{
	{"host-not-found", exitNetwork, stepName, func(f *failure) bool {
		return f.step == stepName || is[*net.DNSError](f.c.dialError()) || !f.c.dialed() && is[*net.DNSError](f.err)
	},
		func(f *failure) string {
			if e := (*net.DNSError)(nil); errors.As(f.err, &e) && !e.IsNotFound {
				return "the name of the host cannot be resolved: " + f.text
			}
			return fmt.Sprintf("the host %s has no address", f.c.field("host").Value)
		}, "Check the name, and that this machine asks a DNS server that knows it (a private zone of a VPC)."},
	{"port-closed", exitNetwork, stepTCP, func(f *failure) bool { return refused(f.c.dialError()) },
		func(f *failure) string { return "nothing listens at " + f.c.plan.Address },
		"Check the port, and that the database runs."},
	{"port-closed", exitNetwork, stepTCP, func(f *failure) bool { return errors.Is(f.c.dialError(), fs.ErrNotExist) },
		func(f *failure) string { return "there is no socket " + f.c.plan.Address },
		"Check the path, and that the database runs on this machine and its socket is in this container."},
	{"unreachable", exitNetwork, stepTCP, func(f *failure) bool { return f.c.dialed() },
		func(f *failure) string { return f.c.plan.Address + " cannot be reached" },
		"Check security groups, network ACLs and routes, and that this machine is in the right network."},
	{"timeout", exitNetwork, stepTCP, func(f *failure) bool { return errors.Is(f.err, context.DeadlineExceeded) },
		func(f *failure) string { return f.c.plan.Address + " does not answer in time" },
		"Check security groups, network ACLs and routes, and that this machine is in the right network."},
	{"configuration", exitUsage, stepTLS, func(*failure) bool { return true },
		func(f *failure) string { return f.reason() }, "The parameters of the data source name do not fit the secret or this machine."},
}
