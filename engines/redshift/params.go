package redshift

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/jdbcurl"
)

const queryMode = "default_query_exec_mode"

// pgxParams are pgx's parameters that make sense with Redshift.
var pgxParams = []string{
	"connect_timeout", queryMode, "description_cache_capacity", "options", "sslcert", "sslcertmode",
	"sslkey", "sslmode", "sslrootcert", "sslsni", "statement_cache_capacity",
}

// refused are those of PostgreSQL that Redshift does not have, with the reason.
var refused = map[string]string{
	"channel_binding":      "Redshift has no SCRAM, whose part it is",
	"require_auth":         "Redshift's methods are not among those that it can name",
	"krbsrvname":           "Redshift has no Kerberos",
	"krbspn":               "Redshift has no Kerberos",
	"max_protocol_version": "Redshift speaks 3.0 only",
	"min_protocol_version": "Redshift speaks 3.0 only",
	"sslnegotiation":       "Redshift waits for the request for TLS, as PostgreSQL before 17",
	"target_session_attrs": "Redshift has one endpoint, and nothing that would answer",
}

// settings are those that a session may change, of "Configuration reference" in the
// Amazon Redshift Database Developer Guide, and what Redshift's own drivers send
// when they connect (application_name, client_encoding), sorted.
var settings = []string{
	"analyze_threshold_percent",
	"application_name",
	"cast_super_null_on_error",
	"client_encoding",
	"datashare_break_glass_session_var",
	"datestyle",
	"default_geometry_encoding",
	"describe_field_name_in_uppercase",
	"downcase_delimited_identifier",
	"enable_case_sensitive_identifier",
	"enable_case_sensitive_super_attribute",
	"enable_numeric_rounding",
	"enable_result_cache_for_session",
	"enable_vacuum_boost",
	"error_on_nondeterministic_update",
	"extra_float_digits",
	"interval_forbid_composite_literals",
	"json_parse_dedup_attributes",
	"json_parse_truncate_strings",
	"json_serialization_enable",
	"json_serialization_parse_nested_strings",
	"max_concurrency_scaling_clusters",
	"max_cursor_result_set_size",
	"mv_enable_aqmv_for_session",
	"navigate_super_null_on_error",
	"parse_super_null_on_error",
	"pg_federation_repeatable_read",
	"query_group",
	"search_path",
	"spectrum_enable_pseudo_columns",
	"spectrum_query_maxerror",
	"statement_timeout",
	"stored_proc_log_min_messages",
	"timezone",
	"wlm_query_slot_count",
}

// CheckParams checks parameters: those of pgx that make sense with Redshift, and
// Redshift's settings by the name that SET has for them, case ignored.
func (e Engine) CheckParams(params map[string]string) error {
	seen := map[string]string{} // settings in lower case
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if reason, ok := refused[name]; ok {
			return fmt.Errorf("parameter %q is not allowed: %s", name, reason)
		}
		if slices.Contains(pgxParams, name) {
			continue
		}
		lower := strings.ToLower(name)
		if _, ok := slices.BinarySearch(settings, lower); !ok {
			return unknown(name)
		}
		if strings.IndexByte(params[name], 0) >= 0 {
			return fmt.Errorf("parameter %q: a NUL character", name)
		}
		if other, ok := seen[lower]; ok {
			return fmt.Errorf("parameters %q and %q are the same setting", other, name)
		}
		seen[lower] = name
	}
	if params[queryMode] == "simple_protocol" {
		return errors.New(`parameter "` + queryMode + `": simple_protocol is not for Redshift, which does not report standard_conforming_strings: pgx refuses every query with arguments`)
	}
	pgx, _ := split(params)
	return pgxv5.Engine{}.CheckParams(pgx)
}

// split returns the parameters that are pgx's, with the default query mode, and the
// server's settings.
func split(params map[string]string) (pgx, settings map[string]string) {
	pgx, settings = map[string]string{queryMode: "exec"}, map[string]string{}
	for name, value := range params {
		if slices.Contains(pgxParams, name) {
			pgx[name] = value
		} else {
			settings[name] = value
		}
	}
	return pgx, settings
}

func unknown(name string) error {
	if !jdbcurl.IsName(name) {
		return errors.New("a parameter has a name that none has")
	}
	if s := jdbcurl.Suggest(name, slices.Concat(pgxParams, settings)); s != "" {
		return fmt.Errorf("parameter %q is not known; did you mean %q?", name, s)
	}
	return fmt.Errorf("parameter %q is not known", name)
}
