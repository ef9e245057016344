package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

const sampleARN = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app/db-a1b2c3"

// samples follow the documentation that event.go names. RotationSucceeded follows the event in the
// AWS Database Blog, "Multi-user secrets rotation for Amazon RDS". PutSecretValue follows the
// message in the documentation of External Secrets' Reloader, "AWS SQS". A "%" stands for
// sampleARN.
var samples = []struct {
	name  string
	event string
	want  []string
	// Whether rule.json (native) and rule-cloudtrail.json (trail) match it.
	native, trail bool
}{
	{
		name: "Secret Label Updated", native: true, want: []string{sampleARN},
		event: `{"version":"0","id":"b4d1c0de-0000-4000-8000-000000000001","detail-type":"Secret Label Updated","source":"aws.secretsmanager",
			"account":"123456789012","time":"2026-02-06T16:43:48Z","region":"us-west-2","resources":["%"],
			"detail":{"name":"prod/app/db","labelUpdated":"AWSCURRENT","versionId":"b4d1c0de-0000-4000-8000-000000000002"}}`,
	},
	{
		name: "Secret Label Updated of a custom label", want: []string{sampleARN},
		event: `{"detail-type":"Secret Label Updated","source":"aws.secretsmanager","resources":["%"],"detail":{"name":"prod/app/db","labelUpdated":"BLUE","versionId":"v"}}`,
	},
	{
		name: "Secret Label Updated without resources", native: true, want: []string{"prod/app/db"},
		event: `{"detail-type":"Secret Label Updated","source":"aws.secretsmanager","detail":{"name":"prod/app/db","labelUpdated":"AWSCURRENT","versionId":"v"}}`,
	},
	{
		name: "RotationSucceeded", trail: true, want: []string{sampleARN},
		event: `{"version":"0","id":"b4d1c0de-0000-4000-8000-000000000003","detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager",
			"account":"123456789012","time":"2026-02-06T16:43:48Z","region":"us-west-2","resources":[],
			"detail":{"eventVersion":"1.08","userIdentity":{"accountId":"123456789012","invokedBy":"secretsmanager.amazonaws.com"},
			"eventTime":"2026-02-06T16:43:48Z","eventSource":"secretsmanager.amazonaws.com","eventName":"RotationSucceeded","awsRegion":"us-west-2",
			"requestParameters":null,"responseElements":null,"additionalEventData":{"SecretId":"%"},
			"readOnly":false,"eventType":"AwsServiceEvent","managementEvent":true,"eventCategory":"Management"}}`,
	},
	{
		// Some users report this form.
		name: "RotationSucceeded with serviceEventDetails", trail: true, want: []string{sampleARN},
		event: `{"detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"RotationSucceeded","serviceEventDetails":{"secretId":"%"}}}`,
	},
	{
		name: "PutSecretValue", trail: true, want: []string{sampleARN},
		event: `{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","account":"123456789012","region":"us-west-2","resources":[],
			"detail":{"eventVersion":"1.09","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/admin/x"},
			"eventSource":"secretsmanager.amazonaws.com","eventName":"PutSecretValue","awsRegion":"us-west-2",
			"requestParameters":{"clientRequestToken":"b4d1c0de-0000-4000-8000-000000000004","secretId":"prod/app/db","versionStages":["AWSCURRENT"]},
			"responseElements":{"arn":"%"},"readOnly":false,"eventType":"AwsApiCall"}}`,
	},
	{
		name: "PutSecretValue at the start of a rotation", trail: true,
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"PutSecretValue","requestParameters":{"secretId":"%","versionStages":["AWSPENDING"]},"responseElements":{"arn":"%"}}}`,
	},
	{
		name: "UpdateSecret before February 2024", trail: true, want: []string{sampleARN},
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"UpdateSecret","requestParameters":{"secretId":"prod/app/db"},"responseElements":{"aRN":"%","name":"prod/app/db"}}}`,
	},
	{
		name: "UpdateSecret without response elements", trail: true, want: []string{"prod/app/db"},
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"UpdateSecret","requestParameters":{"secretId":"prod/app/db"},"responseElements":null}}`,
	},
	{
		name: "UpdateSecretVersionStage", trail: true, want: []string{sampleARN},
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"UpdateSecretVersionStage",
			"requestParameters":{"secretId":"%","versionStage":"AWSCURRENT","moveToVersionId":"new","removeFromVersionId":"old"},"responseElements":{"arn":"%","name":"prod/app/db"}}}`,
	},
	{
		name: "UpdateSecretVersionStage of AWSPENDING", trail: true,
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"UpdateSecretVersionStage","requestParameters":{"secretId":"%","versionStage":"AWSPENDING","removeFromVersionId":"old"}}}`,
	},
	{
		name: "CreateSecret", trail: true, want: []string{sampleARN},
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"CreateSecret","requestParameters":{"name":"prod/app/db"},"responseElements":{"arn":"%","name":"prod/app/db","versionId":"v"}}}`,
	},
	{
		name: "parameters of unexpected types", trail: true, want: []string{sampleARN},
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","resources":[{"ARN":"%"}],
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"PutSecretValue","requestParameters":{"secretId":5,"versionStages":"x"},"responseElements":{"arn":"%","replicationStatus":[{"region":"us-east-1"}]}}}`,
	},
	{
		name: "detail that is a string", want: []string{sampleARN},
		event: `{"detail-type":"Secret Label Updated","source":"aws.secretsmanager","resources":["%"],"detail":"x"}`,
	},

	// These are not about the value of a secret.
	{
		name: "a call that failed",
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"PutSecretValue","errorCode":"AccessDenied","requestParameters":{"secretId":"%"},"responseElements":null}}`,
	},
	{
		name: "a rotation that began",
		event: `{"detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"RotationStarted","additionalEventData":{"SecretId":"%"}}}`,
	},
	{
		name: "the deletion of a version",
		event: `{"detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"EndSecretVersionDelete","additionalEventData":{"SecretId":"%"}}}`,
	},
	{
		name: "a read",
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue","requestParameters":{"secretId":"%"}}}`,
	},
	{
		name:  "another service's call",
		event: `{"detail-type":"AWS API Call via CloudTrail","source":"aws.ssm","detail":{"eventSource":"ssm.amazonaws.com","eventName":"PutSecretValue","requestParameters":{"secretId":"%"}}}`,
	},
	{
		name:  "a custom source",
		event: `{"detail-type":"Secret Label Updated","source":"my.app","resources":["%"],"detail":{"name":"prod/app/db","labelUpdated":"AWSCURRENT"}}`,
	},
	{name: "another kind of event", event: `{"detail-type":"Scheduled Event","source":"aws.events","resources":["%"],"detail":{}}`},
	{name: "no event", event: `{}`},
}

func sample(text string) string { return strings.ReplaceAll(text, "%", sampleARN) }

func TestSamples(t *testing.T) {
	for _, tt := range samples {
		t.Run(tt.name, func(t *testing.T) {
			event := sample(tt.event)
			quote := func(s string) string {
				b, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			notification := `{"Type":"Notification","MessageId":"1","TopicArn":"arn:aws:sns:us-west-2:123456789012:secrets","Message":` + quote(event) + `,"Signature":"x"}`
			for around, delivered := range map[string]string{
				"nothing":                     event,
				"SNS":                         notification,
				"Lambda from SQS":             `{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":` + quote(event) + `},{"body":"not ours"},{"body":"{}"}]}`,
				"Lambda from SQS from SNS":    `{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":` + quote(notification) + `}]}`,
				"Lambda from SNS":             `{"Records":[{"EventSource":"aws:sns","Sns":{"Type":"Notification","Message":` + quote(event) + `}}]}`,
				"twice the same from a queue": `{"Records":[{"body":` + quote(event) + `},{"body":` + quote(event) + `}]}`,
			} {
				got, err := changed([]byte(delivered))
				if err != nil || !slices.Equal(got, tt.want) {
					t.Errorf("around it %s: got %q, %v, want %q", around, got, err, tt.want)
				}
			}
		})
	}
}

func TestInvalidJSON(t *testing.T) {
	for _, delivered := range []string{"", "canary", "{", `{"detail":{"name":"canary"`, `["canary"]`, `"canary"`, "5", `{}canary`} {
		got, err := changed([]byte(delivered))
		if err == nil || got != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %q, %v, want an error that does not quote the data", delivered, got, err)
		}
	}
}

// Each rule matches exactly the samples that it is for. So EventBridge delivers the events that the
// program handles, and no others.
func TestRules(t *testing.T) {
	for file, want := range map[string]func(i int) bool{
		"rule.json":            func(i int) bool { return samples[i].native },
		"rule-cloudtrail.json": func(i int) bool { return samples[i].trail },
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rule map[string]any
		if err := json.Unmarshal(text, &rule); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for i, tt := range samples {
			var event any
			if err := json.Unmarshal([]byte(sample(tt.event)), &event); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if got := matches(rule, event); got != want(i) {
				t.Errorf("%s: %s matches: %t, want %t", file, tt.name, got, want(i))
			}
			if want(i) && !samples[i].trail && tt.want == nil {
				t.Errorf("%s matches %s, which changes no secret", file, tt.name)
			}
		}
		// The documentation of the command shows rule.json.
		doc, err := os.ReadFile("main.go")
		if err != nil {
			t.Fatal(err)
		}
		if file == "rule.json" && !strings.Contains(string(doc), "//\t"+strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n//\t")) {
			t.Error("main.go shows another rule than rule.json")
		}
	}
}

// matches reports whether EventBridge's pattern matches an event. It knows what the rules here use:
// values, prefix and exists ("Comparison operators for use in event patterns").
func matches(pattern map[string]any, event any) bool {
	fields, _ := event.(map[string]any)
	for key, p := range pattern {
		value, there := fields[key]
		alternatives, leaf := p.([]any)
		if !leaf {
			if !matches(p.(map[string]any), value) {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(alternatives, func(a any) bool {
			operator, ok := a.(map[string]any)
			if !ok {
				return there && a == value
			}
			if exists, ok := operator["exists"]; ok {
				return exists == there
			}
			text, _ := value.(string)
			return there && strings.HasPrefix(text, operator["prefix"].(string))
		}) {
			return false
		}
	}
	return true
}
