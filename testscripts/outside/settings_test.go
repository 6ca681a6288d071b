package outside

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// variable is one that can be set while the server runs, as the server describes it.
type variable struct {
	name, kind string // Boolean, Integer, Enumeration, Set, String, Numeric
	least      string
}

// leftAlone are variables that no odd value is given: they would take the machine's memory or
// time, write outside of the server's directories, or leave nothing to look at.
var leftAlone = []string{
	"innodb_buffer_pool_size", "innodb_ddl_buffer_size", "innodb_log_buffer_size", "innodb_buffer_pool_in_core_file", "general_log_file", "slow_query_log_file", "gtid_purged", "innodb_redo_log_archive_dirs",
	"innodb_spin_wait_delay", "innodb_spin_wait_pause_multiplier", "innodb_sync_spin_loops", "innodb_monitor_disable", "innodb_monitor_enable", "innodb_monitor_reset", "innodb_monitor_reset_all",
	"binlog_group_commit_sync_delay", "innodb_replication_delay", "innodb_max_purge_lag_delay", "innodb_thread_sleep_delay", "innodb_adaptive_max_sleep_delay", "innodb_status_output", "innodb_status_output_locks",
}

// texts are the odd values of those that are no numbers.
var texts = map[string][]string{
	"character_set_client": {"latin1", "gbk"}, "character_set_connection": {"latin1", "ucs2"}, "character_set_database": {"latin1", "ucs2"}, "character_set_filesystem": {"latin1", "utf8mb4"},
	"character_set_results": {"latin1", "ucs2", "utf16", "ascii"}, "character_set_server": {"latin1", "utf32"}, "collation_connection": {"latin1_bin", "utf8mb4_ja_0900_as_cs"}, "collation_database": {"latin1_bin"}, "collation_server": {"utf8mb4_bin"},
	"completion_type": {"CHAIN", "RELEASE"}, "default_storage_engine": {"MyISAM", "MEMORY"}, "default_tmp_storage_engine": {"MyISAM", "MEMORY"}, "delay_key_write": {"ALL", "OFF"}, "event_scheduler": {"OFF"},
	"init_connect": {"SET autocommit = 0", "SET sql_select_limit = 3", "SET sql_mode = 'ANSI_QUOTES'", "DO SLEEP(0.3)", "no statement", "SET transaction_isolation = 'SERIALIZABLE'", "USE mysql", "START TRANSACTION WITH CONSISTENT SNAPSHOT",
		"SET max_execution_time = 1", "SET lock_wait_timeout = 1", "SET character_set_results = NULL", "SET time_zone = '-12:59'", "SET wait_timeout = 1", "SET sql_big_selects = 0, max_join_size = 2", "SET big_tables = 1", "SET completion_type = 2"},
	"innodb_checksum_algorithm": {"strict_crc32", "none", "innodb"}, "innodb_default_row_format": {"redundant", "compact"}, "innodb_change_buffering": {"none"}, "innodb_doublewrite": {"DETECT_ONLY", "DETECT_AND_RECOVER", "OFF"}, "innodb_log_writer_threads": {"ON", "OFF"},
	"innodb_stats_method": {"nulls_ignored"}, "lc_messages": {"ja_JP", "de_DE"}, "lc_time_names": {"ja_JP"}, "log_error_suppression_list": {"'MY-013600,MY-013601,MY-013602,MY-013603,MY-013883'"}, "log_output": {"TABLE", "NONE"}, "log_timestamps": {"SYSTEM"},
	"mandatory_roles": {"'nobody@localhost'"}, "optimizer_switch": {"'derived_merge=off'", "'subquery_to_derived=on'", "'materialization=off,semijoin=off'", "'hypergraph_optimizer=on'"}, "sql_mode": {"''", "ANSI", "'PAD_CHAR_TO_FULL_LENGTH'", "'NO_BACKSLASH_ESCAPES'", "'HIGH_NOT_PRECEDENCE,IGNORE_SPACE,PIPES_AS_CONCAT,REAL_AS_FLOAT'", "TRADITIONAL"},
	"time_zone": {"'+13:00'", "'-12:59'"}, "tls_version": {"''", "'TLSv1.3'"}, "transaction_isolation": {"'READ-UNCOMMITTED'", "'SERIALIZABLE'", "'READ-COMMITTED'"}, "protocol_compression_algorithms": {"zstd", "zlib"},
	"binlog_checksum": {"NONE"}, "binlog_format": {"STATEMENT", "MIXED"}, "binlog_row_image": {"MINIMAL", "NOBLOB"}, "binlog_row_metadata": {"FULL"}, "binlog_row_value_options": {"PARTIAL_JSON"}, "concurrent_insert": {"NEVER", "ALWAYS"},
	"gtid_mode": {"ON_PERMISSIVE"}, "internal_tmp_mem_storage_engine": {"MEMORY"}, "session_track_gtids": {"OWN_GTID", "ALL_GTIDS"}, "session_track_transaction_info": {"CHARACTERISTICS"}, "session_track_system_variables": {"'*'"}, "updatable_views_with_limit": {"NO"},
	"terminology_use_previous": {"BEFORE_8_2_0", "BEFORE_8_0_26"}, "explain_format": {"JSON"}, "block_encryption_mode": {"'aes-256-cbc'"}, "binlog_error_action": {"IGNORE_ERROR"}, "replica_exec_mode": {"IDEMPOTENT"}, "authentication_policy": {"'caching_sha2_password,,'"},
	"resultset_metadata": {"NONE"}, "default_collation_for_utf8mb4": {"utf8mb4_general_ci"}, "innodb_tmpdir": {"'/tmp'"}, "myisam_stats_method": {"nulls_equal"}, "ft_boolean_syntax": {`'+ -><()~*:""&|'`},
}

// settable asks the server for the variables that can be given odd values, in order of names.
func settable(ctx context.Context, c *sql.Conn) (all []variable, err error) {
	rows, err := c.QueryContext(ctx, `SELECT variable_name, data_type, COALESCE(min_value, '') FROM performance_schema.variables_metadata ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("ask for the variables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var v variable
		if err := rows.Scan(&v.name, &v.kind, &v.least); err != nil {
			return nil, err
		}
		if !slices.Contains(leftAlone, v.name) {
			all = append(all, v)
		}
	}
	return slices.DeleteFunc(all, func(v variable) bool { return len(v.odd()) == 0 }), rows.Err()
}

// odd returns values as they are written in a statement.
func (v variable) odd() (values []string) {
	if list, ok := texts[v.name]; ok {
		for _, s := range list {
			if !strings.HasPrefix(s, "'") {
				s = "'" + strings.ReplaceAll(s, "'", "''") + "'"
			}
			values = append(values, s)
		}
		return values
	}
	switch v.kind {
	case "Boolean":
		return []string{"NOT @@GLOBAL." + v.name}
	case "Integer":
		least, err := strconv.ParseInt(v.least, 10, 64)
		if err != nil || least < 0 {
			least = 0
		}
		return []string{fmt.Sprint(least), fmt.Sprint(least + 1), fmt.Sprint(least + 3), fmt.Sprint(max(least, 700)), fmt.Sprint(max(least, 1<<20+1))}
	}
	return nil
}

// oddly sets n of the server's variables. What it does not take is left out.
func oddly(ctx context.Context, c *sql.Conn, r *rand.Rand, n int) (done []string, err error) {
	all, err := settable(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, v := range some(r, all, n) {
		q := fmt.Sprintf("SET GLOBAL %s = %s", v.name, pick(r, v.odd()))
		if _, err := c.ExecContext(ctx, q); err == nil {
			done = append(done, q)
		}
	}
	return done, nil
}
