/* The part of IBM's CLI that go_ibm_db includes, on top of unixODBC's headers: CLI is
   ODBC with additions. The numbers of the additions make no difference here. */
#define SQLColAttribute notCLIs /* its last argument is a pointer of another type */
#include <sql.h>
#include <sqlext.h>
#include <sqlucode.h>
#undef SQLColAttribute

#define SQL_BLOB -98
#define SQL_CLOB -99
#define SQL_DBCLOB -350
#define SQL_XML -370
#define SQL_DECFLOAT -360
#define SQL_BOOLEAN 16
#define SQL_C_DBCHAR SQL_DBCLOB

SQLRETURN SQLColAttribute(SQLHSTMT, SQLUSMALLINT, SQLUSMALLINT, SQLPOINTER, SQLSMALLINT, SQLSMALLINT *, SQLPOINTER);
SQLRETURN SQLCreateDbW(SQLHDBC, SQLWCHAR *, SQLINTEGER, SQLWCHAR *, SQLINTEGER, SQLWCHAR *, SQLINTEGER);
SQLRETURN SQLDropDbW(SQLHDBC, SQLWCHAR *, SQLINTEGER);
