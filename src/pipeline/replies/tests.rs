use super::*;

fn output(replies: &Replies<()>) -> String {
    String::from_utf8_lossy(replies.output()).into_owned()
}

/// contract: P2
#[test]
fn replies_leave_in_the_order_of_requests() {
    let mut replies = Replies::<()>::default();
    let (first, second, third) = (
        replies.open(false, None),
        replies.open(false, None),
        replies.open(false, None),
    );
    replies.fill(third, b"3");
    replies.fill(second, b"2");
    assert_eq!(output(&replies), "");
    replies.answer(false, |out| out.push(b'4'));
    replies.fill(first, b"1");
    assert_eq!(output(&replies), "1234");
    assert!(replies.is_settled());
}

/// contract: F6
#[test]
fn what_is_expected_rises_at_once_and_falls_slowly() {
    let mut replies = Replies::<()>::default();
    replies.guess_len(50);
    let mut answer = |len: usize| {
        let sequence = replies.open(false, None);
        let before = replies.expected_bytes();
        replies.fill(sequence, &vec![b'x'; len]);
        replies.written(len);
        before
    };
    assert_eq!(answer(10), 50, "a guess");
    assert_eq!(answer(1000), 10, "the first one tells");
    assert_eq!(answer(10), 1000, "the longest one counts");
    let after: Vec<usize> = (0..400).map(|_| answer(10)).collect();
    assert_eq!(after[8], 1000);
    assert_eq!(after[399], 10);
    assert!(after.is_sorted_by(|one, next| one >= next));
}

/// contract: F3
#[test]
fn a_place_is_filled_once() {
    let mut replies = Replies::<()>::default();
    let (first, second) = (replies.open(false, None), replies.open(false, None));
    replies.fill(second, b"2");
    replies.fill(second, b"x");
    replies.fill(first, b"1");
    replies.fill(first, b"x");
    replies.fill(Sequence(9), b"x");
    assert_eq!(output(&replies), "12");
}

/// contract: P7
#[test]
fn muted_places_say_nothing() {
    let mut replies = Replies::<()>::default();
    let (first, second) = (replies.open(true, None), replies.open(true, None));
    replies.answer(true, |out| out.push(b'3'));
    let last = replies.open(false, None);
    replies.fill(last, b"4");
    replies.fill(second, b"2");
    replies.fill(first, b"1");
    assert_eq!(output(&replies), "4");
}

#[test]
fn parts_make_one_reply() {
    let mut replies = Replies::<()>::default();
    let merged = replies.open(false, None);
    replies.gather_at(merged, Gather::new((), 2));
    let next = replies.open(false, None);
    replies.fill(next, b"n");
    assert_eq!(replies.fill_part(merged, 1, b"b"), Filled::Waiting);
    assert_eq!(replies.fill_part(merged, 0, b"a"), Filled::Complete);
    let gather = replies.take_gather(merged).expect("it was gathering");
    assert_eq!(gather.replies().collect::<Vec<_>>().concat(), b"ab");
    replies.fill(merged, b"ab");
    assert_eq!(output(&replies), "abn");
}

#[test]
fn writing_in_pieces() {
    let mut replies = Replies::<()>::default();
    replies.answer(false, |out| out.extend_from_slice(b"hello"));
    assert!(replies.written(2).is_none());
    assert_eq!(output(&replies), "llo");
    assert_eq!(replies.buffered_bytes(), 3);
    replies.written(3);
    assert_eq!(output(&replies), "");
}
