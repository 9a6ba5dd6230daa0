//! What a restore would replace in a folder that is there: all that stands where the tree has something, but for
//! folders where it has folders, which only get other metadata.

use super::{Part, place, strip};
use crate::entry::Kind;
use crate::error::Result;
use crate::event::Job;
use crate::ops::list::light;
use crate::record::SourceBody;
use crate::repo::{Catalogue, ChunkReader, Repository};
use crate::target::files::Present;
use crate::text;
use crate::tree::TreeWalk;

/// Counts what one part would replace, and names it. Of what is not there, nothing below is read.
pub fn replaced(
    repository: &Repository,
    catalogue: &Catalogue,
    source: &SourceBody,
    part: &Part,
    present: &Present,
    job: Job<'_>,
) -> Result<u64> {
    let reader = ChunkReader::new(repository, catalogue);
    let mut count = 0;
    let mut replace = |place: &[u8]| {
        count += 1;
        job.note(&format!("would be replaced: {}", text::escape(place)));
    };
    for path in super::folders_above(&part.pick) {
        let place = place(&part.into, path);
        if present.is_folder(&place) == Some(false) {
            replace(&place);
        }
    }
    for path in super::picked(&part.pick) {
        let strip = strip(&reader, source, part, path)?;
        let mut walk = TreeWalk::below(&reader, &source.root, path);
        while let Some(found) = walk.next() {
            job.cancel.check()?;
            // What cannot be read is not restored, and so replaces nothing.
            let Ok(found) = found else { continue };
            let Ok(stored) = light(&found) else { continue };
            let place = place(&part.into, &found.path[strip.min(found.path.len())..]);
            let there = present.is_folder(&place);
            let is_folder = stored.entry.kind == Kind::Directory;
            if there.is_some_and(|there| !(there && is_folder)) {
                replace(&place);
            }
            if is_folder && there != Some(true) {
                walk.skip_below(&found.path);
            }
        }
    }
    Ok(count)
}
