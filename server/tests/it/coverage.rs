//! Every row of the table of bad input (stomp.md §5) has a test, and this list says which.
//!
//! Most rows are rows of [`super::rows`], whose names begin with their number. The others need more
//! than one client, time, or another protocol; they stand in [`ELSEWHERE`] by file and name. What
//! is listed must exist: a test that is renamed or deleted fails here.

use std::collections::BTreeSet;
use std::path::Path;

/// Rows of the table.
const ROWS_COUNT: usize = 88;

/// Row, file below `server/tests`, and the test there.
const ELSEWHERE: &[(usize, &str, &str)] = &[
    (2, "it/rows.rs", "the_wrong_protocol_on_the_stomp_port"),
    (3, "it/rows.rs", "the_wrong_protocol_on_the_stomp_port"),
    (12, "it/session.rs", "a_virtual_host_must_be_one_of_the_list"),
    (12, "it/profiles.rs", "rabbitmq_refuses_what_its_clients_expect_to_be_refused"),
    (14, "it/session.rs", "plain_logins"),
    (14, "it/budgets.rs", "who_guesses_is_refused_even_with_the_right_passcode"),
    (15, "it/session.rs", "logins_by_the_users_file"),
    (22, "it/session.rs", "a_passcode_is_taken_literally"),
    (24, "it/rows.rs", "one_byte_at_a_time"),
    (26, "it/session.rs", "a_connect_that_does_not_come_and_one_that_drips"),
    (27, "it/session.rs", "a_connect_that_does_not_come_and_one_that_drips"),
    (58, "it/selectors.rs", "a_destination_has_so_much_work_and_no_more"),
    (58, "it/selectors.rs", "costly_selectors_delay_and_lose_nothing"),
    (61, "it/permissions.rs", "the_first_rule_that_fits_decides"),
    (61, "it/permissions.rs", "a_soft_client_keeps_its_session"),
    (62, "it/users.rs", "nobody_can_name_what_belongs_to_another_session"),
    (64, "it/transactions.rs", "acks_that_are_refused"),
    (66, "it/transactions.rs", "acks_that_are_refused"),
    (66, "it/queues.rs", "acks_that_are_refused"),
    (67, "it/transactions.rs", "individual_acks_cover_one_and_may_come_after_unsubscribe"),
    (
        67,
        "it/queues.rs",
        "an_ack_may_come_after_unsubscribe_and_what_is_left_comes_back_at_the_end",
    ),
    (69, "it/transactions.rs", "a_transaction_that_cannot_be_applied_whole_is_not_applied"),
    (70, "it/transactions.rs", "acks_that_are_refused"),
    (71, "it/transactions.rs", "a_transaction_that_cannot_be_applied_whole_is_not_applied"),
    (71, "it/queues.rs", "a_transaction_puts_into_all_queues_or_none"),
    (72, "it/transactions.rs", "a_transaction_has_so_many_bytes_and_no_more"),
    (74, "it/session.rs", "the_end_of_the_stream"),
    (75, "it/transactions.rs", "a_reset_aborts_the_transaction"),
    (75, "it/queues.rs", "unsettled_messages_come_back_in_order_and_say_so"),
    (76, "it/load.rs", "ten_thousand_frames_in_one_write"),
    (77, "it/delivery.rs", "each_version_gets_its_own_escapes"),
    (78, "it/delivery.rs", "headers_pass_through_and_secrets_do_not"),
    (79, "it/delivery.rs", "a_subscriber_that_does_not_read_ends_alone"),
    (82, "it/session.rs", "websocket_frames"),
    (83, "it/session.rs", "websocket_frames"),
    (83, "it/compression.rs", "f01_to_f06_bad_messages_end_their_connection_only"),
    (84, "it/session.rs", "the_websocket_upgrade"),
    (84, "http/upgrade.rs", "a_strict_server_names_the_subprotocols_it_knows"),
    (85, "it/session.rs", "the_websocket_upgrade"),
    (86, "it/session.rs", "a_user_name_cannot_carry_headers"),
    (86, "it/users.rs", "names_with_a_slash_are_one_segment"),
    (87, "it/budgets.rs", "a_storm_of_connections_is_told_to_come_later"),
    (87, "it/load.rs", "a_storm_of_connects_is_answered_once_each_and_harms_nobody"),
];

#[test]
fn every_row_has_its_test() {
    let in_table = super::rows::all().iter().filter_map(|row| number(row.name)).collect();
    let elsewhere: BTreeSet<usize> = ELSEWHERE.iter().map(|(row, ..)| *row).collect();
    let covered: BTreeSet<usize> = &in_table | &elsewhere;
    let missing: Vec<usize> = (1..=ROWS_COUNT).filter(|row| !covered.contains(row)).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
    assert_eq!(covered.len(), ROWS_COUNT, "a number that is no row's");
}

#[test]
fn what_is_listed_exists() {
    for (row, file, name) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let text = std::fs::read_to_string(&path).expect("a file of tests");
        let test = format!("#[test]\nfn {name}() {{");
        assert!(text.contains(&test), "row {row}: no test {name} in {file}");
    }
}

/// The number that a row's name begins with; some of the table are not of stomp.md §5.
fn number(name: &str) -> Option<usize> {
    name.split(' ').next()?.parse().ok()
}
