package driver

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"github.com/sqlsecrets/sqlsecrets/internal/awsregion"
)

// A Location says where secrets are kept and as whom they are fetched, as the DSN's keys of
// these names do. Zero fields mean the process's defaults.
type Location struct {
	Region     string // AWS region: "us-west-2"; "us-west-2,us-east-1" falls back on the second
	Endpoint   string // URL of the Secrets Manager API, "https://vpce-….amazonaws.com", or of what else Source asks
	Source     string // "aws", "agent", "file:/mnt/secrets", "agent,aws"; package engines has them all
	Profile    string // of the shared AWS configuration, whose credentials and region are used: "reports"
	RoleARN    string // of a role to assume with these or the process's credentials: "arn:aws:iam::123456789012:role/app"
	ExternalID string // what the role's trust policy asks for; an error without RoleARN
}

func setRegion(d *dataSource, v string) error {
	first, others := awsregion.Split(v)
	regions := append([]string{first}, others...)
	for i, region := range regions {
		if !awsregion.Valid(region) || slices.Contains(regions[:i], region) {
			return errors.New("it is neither the name of a region, as us-west-2 is, nor a list of different ones with commas between")
		}
		if meant := awsregion.Meant(region); meant != "" {
			return fmt.Errorf("AWS has no such region; did you mean %q?", meant)
		}
	}
	d.location.Region = v
	return nil
}

func setEndpoint(d *dataSource, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// The cause quotes the value.
		return errors.New("it is not a URL of the form https://host[:port]")
	}
	d.location.Endpoint = v
	return nil
}

// Amazon Resource Names of roles, and external ids, as IAM and STS take them. Their lengths are
// checked by len: a regexp with {1,576} takes every program milliseconds to compile.
var (
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	externalID = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

func setRoleARN(d *dataSource, v string) error {
	if len(v) > 2048 || !roleARN.MatchString(v) {
		return errors.New("it is not the ARN of a role, as arn:aws:iam::123456789012:role/app is")
	}
	d.location.RoleARN = v
	return nil
}

func setExternalID(d *dataSource, v string) error {
	if len(v) < 2 || len(v) > 1224 || !externalID.MatchString(v) {
		return errors.New(`it is not 2 to 1224 letters, digits and characters of "_+=,.@:/-"`)
	}
	d.location.ExternalID = v
	return nil
}

// checkLocation returns an error for a location that would have no effect, or cannot be one.
func (o *Options) checkLocation(loc Location) error {
	if o.Secrets != nil && loc != (Location{}) {
		return badDSN(errors.New(`parameters "region", "endpoint", "source", "profile", "roleArn" and "externalId" have no effect on Options.Secrets: leave them out, or use Options.SecretsAt`))
	}
	if loc.ExternalID != "" && loc.RoleARN == "" {
		return badDSN(errors.New(`parameter "externalId" has no effect without "roleArn"`))
	}
	if o.Secrets == nil && o.CheckLocation != nil {
		if err := o.CheckLocation(loc); err != nil {
			return badDSN(err)
		}
	}
	return nil
}
