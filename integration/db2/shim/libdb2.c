/* A stand-in for IBM's libdb2.so. It reads a connection string as IBM documents it for
   CLI: values end at a ";", the first of equal keywords counts, nothing is quoted. It
   sends database, user and password to HOSTNAME:PORT, each on a line, and fails as the
   answer says. Every statement returns one row with 1. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "sqlcli1.h"

typedef struct {
	int fd, code, told, rows;
	const char *state, *message;
	void *column;
	SQLLEN *indicator;
} handle;

static SQLRETURN fail(handle *h, const char *state, int code, const char *message) {
	h->state = state, h->code = code, h->message = message, h->told = 0;
	return SQL_ERROR;
}

static void value(const char *s, const char *keyword, char *to, size_t size) {
	size_t n = strlen(keyword);
	to[0] = 0;
	while (*s) {
		size_t len = strcspn(s, ";");
		if (len > n && s[n] == '=' && !strncasecmp(s, keyword, n)) {
			const char *from = s + n + 1, *end = s + len;
			while (from < end && *from == ' ') from++;
			while (end > from && end[-1] == ' ') end--;
			snprintf(to, size, "%.*s", (int)(end - from), from);
			return;
		}
		s += len + (s[len] == ';');
	}
}

SQLRETURN SQLDriverConnectW(SQLHDBC dbc, SQLHWND w, SQLWCHAR *in, SQLSMALLINT n, SQLWCHAR *out, SQLSMALLINT m, SQLSMALLINT *len, SQLUSMALLINT how) {
	handle *h = dbc;
	char s[4096], host[300], port[20], database[300], user[300], password[300], timeout[20], answer[32] = "";
	size_t i;
	for (i = 0; i < sizeof s - 1 && i < (size_t)n && in[i]; i++) s[i] = in[i] < 0x80 ? in[i] : '?';
	s[i] = 0;
	value(s, "HOSTNAME", host, sizeof host), value(s, "PORT", port, sizeof port);
	value(s, "DATABASE", database, sizeof database), value(s, "ConnectTimeout", timeout, sizeof timeout);
	value(s, "UID", user, sizeof user), value(s, "PWD", password, sizeof password);

	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addr;
	if (getaddrinfo(host, port, &hints, &addr))
		return fail(h, "08001", -30081, "SQL30081N  A communication error has been detected. SQLSTATE=08001");
	int fd = socket(addr->ai_family, SOCK_STREAM, 0);
	struct timeval limit = {atoi(timeout) ? atoi(timeout) : 60, 0};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	int failed = connect(fd, addr->ai_addr, addr->ai_addrlen);
	freeaddrinfo(addr);
	if (!failed) {
		dprintf(fd, "%s\n%s\n%s\n", database, user, password);
		failed = read(fd, answer, sizeof answer - 1) <= 0;
	}
	if (!failed && !strcmp(answer, "ok\n")) {
		h->fd = fd;
		return SQL_SUCCESS;
	}
	close(fd);
	if (failed)
		return fail(h, "08001", -30081, "SQL30081N  A communication error has been detected. SQLSTATE=08001");
	if (!strcmp(answer, "no database\n"))
		return fail(h, "08004", -30061, "SQL30061N  The database alias or database name was not found at the remote node. SQLSTATE=08004");
	return fail(h, "08001", -30082, "SQL30082N  Security processing failed with reason \"24\" (\"USERNAME AND/OR PASSWORD INVALID\"). SQLSTATE=08001");
}

SQLRETURN SQLGetDiagRecW(SQLSMALLINT t, SQLHANDLE handle_, SQLSMALLINT record, SQLWCHAR *state, SQLINTEGER *code, SQLWCHAR *message, SQLSMALLINT size, SQLSMALLINT *len) {
	handle *h = handle_;
	if (record > 1 || !h->message) return SQL_NO_DATA;
	int i;
	for (i = 0; i < 6; i++) state[i] = h->state[i];
	for (i = 0; i < size - 1 && h->message[i]; i++) message[i] = h->message[i];
	message[i] = 0;
	*code = h->code;
	return SQL_SUCCESS;
}

SQLRETURN SQLAllocHandle(SQLSMALLINT t, SQLHANDLE in, SQLHANDLE *out) { handle *h = calloc(1, sizeof *h); h->fd = -1; *out = h; return SQL_SUCCESS; }
SQLRETURN SQLFreeHandle(SQLSMALLINT t, SQLHANDLE h) { free(h); return SQL_SUCCESS; }
SQLRETURN SQLDisconnect(SQLHDBC dbc) { handle *h = dbc; close(h->fd); return SQL_SUCCESS; }
SQLRETURN SQLExecDirectW(SQLHSTMT s, SQLWCHAR *q, SQLINTEGER n) { ((handle *)s)->rows = 1; return SQL_SUCCESS; }
SQLRETURN SQLPrepareW(SQLHSTMT s, SQLWCHAR *q, SQLINTEGER n) { return SQL_SUCCESS; }
SQLRETURN SQLExecute(SQLHSTMT s) { ((handle *)s)->rows = 1; return SQL_SUCCESS; }
SQLRETURN SQLNumParams(SQLHSTMT s, SQLSMALLINT *n) { *n = 0; return SQL_SUCCESS; }
SQLRETURN SQLNumResultCols(SQLHSTMT s, SQLSMALLINT *n) { *n = 1; return SQL_SUCCESS; }
SQLRETURN SQLDescribeColW(SQLHSTMT s, SQLUSMALLINT i, SQLWCHAR *name, SQLSMALLINT size, SQLSMALLINT *len, SQLSMALLINT *type, SQLULEN *width, SQLSMALLINT *digits, SQLSMALLINT *null) {
	name[0] = '1', name[1] = 0, *len = 1, *type = SQL_INTEGER, *width = 4;
	if (digits) *digits = 0;
	if (null) *null = 0;
	return SQL_SUCCESS;
}
SQLRETURN SQLBindCol(SQLHSTMT s, SQLUSMALLINT i, SQLSMALLINT t, SQLPOINTER p, SQLLEN n, SQLLEN *ind) { ((handle *)s)->column = p, ((handle *)s)->indicator = ind; return SQL_SUCCESS; }
SQLRETURN SQLFetch(SQLHSTMT s) {
	handle *h = s;
	if (!h->rows--) return SQL_NO_DATA;
	*(SQLINTEGER *)h->column = 1, *h->indicator = 4;
	return SQL_SUCCESS;
}
SQLRETURN SQLRowCount(SQLHSTMT s, SQLLEN *n) { *n = 0; return SQL_SUCCESS; }
SQLRETURN SQLCloseCursor(SQLHSTMT s) { return SQL_SUCCESS; }
SQLRETURN SQLMoreResults(SQLHSTMT s) { return SQL_NO_DATA; }
SQLRETURN SQLEndTran(SQLSMALLINT t, SQLHANDLE h, SQLSMALLINT how) { return SQL_SUCCESS; }
SQLRETURN SQLSetEnvAttr(SQLHENV e, SQLINTEGER a, SQLPOINTER p, SQLINTEGER n) { return SQL_SUCCESS; }
SQLRETURN SQLSetConnectAttr(SQLHDBC d, SQLINTEGER a, SQLPOINTER p, SQLINTEGER n) { return SQL_SUCCESS; }
SQLRETURN SQLSetConnectAttrW(SQLHDBC d, SQLINTEGER a, SQLPOINTER p, SQLINTEGER n) { return SQL_SUCCESS; }
SQLRETURN SQLSetStmtAttrW(SQLHSTMT s, SQLINTEGER a, SQLPOINTER p, SQLINTEGER n) { return SQL_SUCCESS; }

/* Not called here. */
SQLRETURN SQLGetData(SQLHSTMT s, SQLUSMALLINT i, SQLSMALLINT t, SQLPOINTER p, SQLLEN n, SQLLEN *ind) { return SQL_ERROR; }
SQLRETURN SQLBindParameter(SQLHSTMT s, SQLUSMALLINT i, SQLSMALLINT io, SQLSMALLINT c, SQLSMALLINT t, SQLULEN w, SQLSMALLINT d, SQLPOINTER p, SQLLEN n, SQLLEN *ind) { return SQL_ERROR; }
SQLRETURN SQLDescribeParam(SQLHSTMT s, SQLUSMALLINT i, SQLSMALLINT *t, SQLULEN *w, SQLSMALLINT *d, SQLSMALLINT *null) { return SQL_ERROR; }
SQLRETURN SQLColAttribute(SQLHSTMT s, SQLUSMALLINT i, SQLUSMALLINT f, SQLPOINTER p, SQLSMALLINT n, SQLSMALLINT *len, SQLPOINTER num) { return SQL_ERROR; }
SQLRETURN SQLCreateDbW(SQLHDBC d, SQLWCHAR *a, SQLINTEGER b, SQLWCHAR *c, SQLINTEGER e, SQLWCHAR *f, SQLINTEGER g) { return SQL_ERROR; }
SQLRETURN SQLDropDbW(SQLHDBC d, SQLWCHAR *a, SQLINTEGER b) { return SQL_ERROR; }
