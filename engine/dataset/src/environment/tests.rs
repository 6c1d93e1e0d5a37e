//! Plans as they are shown. They name lines of this file, which nothing else moves.

use super::*;

fn environment() -> ExecutionEnvironment {
    let env = ExecutionEnvironment::with_configuration(Configuration::new());
    env.set_parallelism(2).unwrap();
    env
}

#[test]
fn words_are_combined_before_they_are_sent() {
    let env = environment();
    env.read_text_file("/no/such/text")
        .unwrap()
        .flat_map_into(|line: String, out| {
            line.split(' ').for_each(|word| out.emit((word.to_owned(), 1_u64)))
        })
        .name("Split")
        .group_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count")
        .write_files("/tmp/counts", |_, _| {})
        .unwrap();
    insta::assert_snapshot!(env.plan("wordcount").unwrap().0.describe());
}

#[test]
fn the_small_side_of_a_join_is_broadcast_and_read_first() {
    let env = environment();
    let small = env.from_collection([(1_u64, "one".to_owned())]).name("small");
    let large = env.generate_sequence(1, 1_000_000_000).map(|n| (n.cast_unsigned(), n)).name("large");
    let joined = large.join(&small).on(|l| l.0, |r| r.0).with(|l, r| format!("{} {}", l.1, r.1));
    joined
        .distinct()
        .sort_partition_ref(|line| line, flott_runtime::batch::Order::Ascending)
        .write_as_text("/tmp/joined")
        .unwrap();
    insta::assert_snapshot!(env.plan("join").unwrap().0.describe());
}
