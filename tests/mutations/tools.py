"""Guards of the kinds of tools: HTTP, mail, SQL, Kafka, plug-ins."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MAIL = "service/tools/mail.py"
SQL = "service/tools/sql.py"
KAFKA = "service/tools/kafka.py"
TEST_HTTP_DEFINITIONS = "tests/unit/tools/test_http_definitions.py"
TEST_MAIL = "tests/unit/tools/test_mail.py"
TEST_SQL_TOOLS = "tests/integration/tools/test_sql_tools.py"
TEST_KAFKA_TOOLS = "tests/integration/tools/test_kafka_tools.py"

MUTATIONS = (
    Mutation(
        "a call is sent once",
        "service/tools/http_client.py",
        "session._retry_connection = False",
        "session._retry_connection = True",
        TEST_HTTP_DEFINITIONS,
    ),
    Mutation(
        "a value in a path stays one segment",
        "service/domain/packs/parameter_templates.py",
        'return quote(text, safe="")',
        "return text",
        TEST_HTTP_DEFINITIONS,
    ),
    Mutation(
        "a success predicate that is false is no confirmation",
        "service/tools/answers.py",
        "if not says_done(call, reply.status, reply.headers, body):",
        "if False:",
        TEST_HTTP_DEFINITIONS,
    ),
    Mutation(
        "a text that left and was not answered is in doubt",
        MAIL,
        "return unanswered(call,",
        "return not_sent(call,",
        TEST_MAIL,
    ),
    Mutation(
        "mail goes where the operator allows",
        MAIL,
        "if not all(server.may_write_to(address) for address in recipients):",
        "if False:",
        TEST_MAIL,
    ),
    Mutation(
        "plug-ins are given tenant by tenant",
        "service/tools/plugins.py",
        "if grant is None or not grant.allows(tenant_id):",
        "if grant is None:",
        "tests/unit/tools/test_plugins.py",
    ),
    Mutation(
        "a read of a database writes nothing",
        SQL,
        (
            ' -c default_transaction_read_only=on",\n'
            '        application_name="sentinai tool",\n'
            "    )\n"
            "    connection.set_session(readonly=True)\n"
        ),
        '",\n        application_name="sentinai tool",\n    )\n',
        f"{TEST_SQL_TOOLS}::test_an_attempt_to_write_fails",
    ),
    Mutation(
        "a slow query is cut off at the server",
        SQL,
        "-c statement_timeout={int(seconds * 1000)} ",
        "",
        f"{TEST_SQL_TOOLS}::test_a_slow_query_is_cut_off_at_the_server",
    ),
    Mutation(
        "connections are given tenant by tenant",
        SQL,
        "if declared is None or not declared.allows(call.tenant_id):",
        "if declared is None:",
        f"{TEST_SQL_TOOLS}::test_a_connection_is_the_operators_to_give",
    ),
    Mutation(
        "a record that never left may be sent again",
        KAFKA,
        "producer.purge(in_queue=True, in_flight=False, blocking=False)",
        "pass",
        f"{TEST_KAFKA_TOOLS}::test_a_record_that_never_left_may_be_sent_again",
    ),
    Mutation(
        "topics are given tenant by tenant",
        KAFKA,
        "if grant is None or not grant.allows(call.tenant_id):",
        "if False:",
        f"{TEST_KAFKA_TOOLS}::test_what_no_broker_will_ever_take_is_refused",
    ),
)
