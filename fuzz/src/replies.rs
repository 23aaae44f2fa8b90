//! Bytes of a node: framing, the parts of a reply, what an error says about routing. The first byte
//! says where the rest is cut in two; cut or whole, the same replies must be found.

use keyway::cluster::verdict;
use keyway::resp::reply::{ReplyScanner, elements, integer, text};

fn lengths(bytes: &[u8], cuts: &[usize]) -> Vec<usize> {
    let mut scanner = ReplyScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        while start < end {
            match scanner.scan(&bytes[start..end]) {
                Ok(Some(len)) => {
                    let reply = &bytes[start..start + len];
                    let _ = (integer(reply), text(reply), verdict(reply));
                    if let Some(elements) = elements(reply) {
                        assert!(elements.map(<[u8]>::len).sum::<usize>() <= len);
                    }
                    found.push(len);
                    start += len;
                }
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

/// One input.
pub fn run(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).min(bytes.len());
    assert_eq!(lengths(bytes, &[cut]), lengths(bytes, &[]));
}
