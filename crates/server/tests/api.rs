//! The server from outside, as browsers, programs, neighbours and other people's pages meet it:
//! a real one on a free port, with machines in processes of their own.
//!
//! Labs are started by running the current program with `lab FOLDER`, so this test is a program
//! without the usual harness.

use std::path::Path;
use std::process::ExitCode;

#[path = "api/branches.rs"]
mod branches;
#[path = "api/downloads.rs"]
mod downloads;
#[path = "../../host/tests/process/echo.rs"]
mod echo;
#[path = "api/fields.rs"]
mod fields;
#[path = "api/frame.rs"]
mod frame;
#[path = "api/full.rs"]
mod full;
#[path = "api/input.rs"]
mod input;
#[path = "api/machines.rs"]
mod machines;
#[path = "api/network.rs"]
mod network;
#[path = "api/past.rs"]
mod past;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/shares.rs"]
mod shares;
#[path = "api/site.rs"]
mod site;
#[path = "api/tls.rs"]
mod tls;
#[path = "api/visits.rs"]
mod visits;

use libtest_mimic::{Arguments, Trial};
use site::Site;
use stackvm_host::sandbox::Sandbox;

/// A test gets a server with an empty data directory.
type Test = fn(Site);

const TESTS: [(&str, Test); 56] = [
    ("wrong_input_is_named", input::wrong_input_is_named),
    ("no_field_is_taken_on_trust", fields::no_field_is_taken_on_trust),
    ("a_full_disk_is_said_and_cured", full::a_full_disk_is_said_and_cured),
    ("what_is_not_json_is_refused", input::what_is_not_json_is_refused),
    ("lists_come_in_parts", input::lists_come_in_parts),
    ("a_key_makes_it_once", input::a_key_makes_it_once),
    ("a_key_at_once_makes_it_once", input::a_key_at_once_makes_it_once),
    ("the_description_is_true", input::the_description_is_true),
    ("every_route_knows_every_role", rights::every_route_knows_every_role),
    ("another_machines_guest_sees_nothing", rights::another_machines_guest_sees_nothing),
    ("a_token_makes_one_owner", sessions::a_token_makes_one_owner),
    ("a_session_survives_the_server", sessions::a_session_survives_the_server),
    ("names_can_be_changed", sessions::names_can_be_changed),
    ("whoever_leaves_is_out", sessions::whoever_leaves_is_out),
    ("guessing_is_slow", sessions::guessing_is_slow),
    ("the_door_is_for_the_owners_programs", sessions::the_door_is_for_the_owners_programs),
    ("a_data_directory_has_one_server", sessions::a_data_directory_has_one_server),
    ("a_link_lets_somebody_in", shares::a_link_lets_somebody_in),
    ("a_link_may_ask_for_a_password", shares::a_link_may_ask_for_a_password),
    ("a_link_ends", shares::a_link_ends),
    (
        "a_link_to_a_machine_that_is_off_begins_where_it_goes_on",
        shares::a_link_to_a_machine_that_is_off_begins_where_it_goes_on,
    ),
    ("a_revoked_link_cuts_open_sockets", shares::a_revoked_link_cuts_open_sockets),
    ("an_older_machines_link_is_void", shares::an_older_machines_link_is_void),
    ("frames_on_other_sites_have_a_bearer", shares::frames_on_other_sites_have_a_bearer),
    ("machines_are_changed_one_after_the_other", machines::changed_one_after_the_other),
    ("a_machine_is_deleted_and_taken_back", machines::deleted_and_taken_back),
    ("a_running_one_is_saved_before_it_goes", machines::a_running_one_is_saved_before_it_goes),
    ("many_are_searched_soon", machines::many_are_searched_soon),
    ("a_machine_is_switched", machines::switched),
    ("instants_have_names_and_futures", machines::instants_have_names_and_futures),
    ("the_past_is_shown_to_those_who_may_see_it", past::it_is_shown_to_those_who_may_see_it),
    ("a_recording_is_a_part_of_the_past", past::a_recording_is_a_part_of_the_past),
    ("a_recording_is_published_and_taken_back", past::a_recording_is_published_and_taken_back),
    ("a_past_is_downloaded_while_it_goes_on", downloads::a_past_while_it_goes_on),
    ("a_moment_is_downloaded_and_comes_back", downloads::a_moment_that_comes_back),
    ("what_people_did_is_told", past::what_people_did_is_told),
    ("what_was_seen_is_in_the_recording", past::what_was_seen_is_in_the_recording),
    ("any_instant_has_futures", past::any_instant_has_futures),
    ("a_moment_is_kept_as_it_is", past::a_moment_is_kept_as_it_is),
    ("what_goes_on_from_a_machine_is_told", branches::what_goes_on_from_a_machine_is_told),
    (
        "a_name_that_is_given_again_has_no_branches",
        branches::a_name_that_is_given_again_has_no_branches,
    ),
    ("a_running_machine_has_twins", branches::a_running_machine_has_twins),
    ("each_visitor_has_their_own", visits::each_visitor_has_their_own),
    ("a_visit_ends_when_nobody_is_there", visits::a_visit_ends_when_nobody_is_there),
    ("visits_end_with_their_moment", visits::visits_end_with_their_moment),
    ("only_a_moment_has_visitors", visits::only_a_moment_has_visitors),
    ("what_cannot_be_made_says_why", machines::what_cannot_be_made_says_why),
    ("the_home_page_hears_of_changes", machines::the_home_page_hears_of_changes),
    ("pages_of_others_are_refused", network::pages_of_others_are_refused),
    ("every_answer_has_its_armour", network::every_answer_has_its_armour),
    ("the_network_is_opened_and_closed", network::opened_and_closed),
    ("a_certificate_that_signs_itself", tls::a_certificate_that_signs_itself),
    ("a_certificate_from_files", tls::a_certificate_from_files),
    ("addresses_of_ipv6", tls::addresses_of_ipv6),
    ("opening_the_network_disturbs_nobody", tls::opening_the_network_disturbs_nobody),
    ("ports_and_ends", network::ports_and_ends),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["lab", folder] => return stackvm_host::lab_main(Path::new(folder), Sandbox::On),
        ["lab", "--replays", folder] => {
            return stackvm_host::replay_main(Path::new(folder), Sandbox::On);
        }
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Some change what the whole process may do.
    arguments.test_threads = Some(1);
    let trials = TESTS.map(|(name, test)| {
        Trial::test(name, move || {
            test(Site::new());
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
