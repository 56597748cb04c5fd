//! "Did you mean …?": the name that somebody probably had in mind.

/// The candidate that is nearest to `name`, if one is near: about one wrong letter in three, counted by `strsim`; of equals, the first.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let length = name.chars().count();
    let near = (length / 3).max(1);
    candidates
        .into_iter()
        // Names of very different lengths cannot be near, and distances cost the product of the lengths.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= near)
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What is longer than any name may be is no misspelt name.
const NAME_BYTES_MAX: usize = 128;

pub(crate) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["users", "orders", "audit"];
        assert_eq!(nearest("user", names), Some("users"));
        assert_eq!(nearest("Users", names), Some("users"));
        assert_eq!(nearest("oders", names), Some("orders"));
        assert_eq!(nearest("admin", names), None);
        assert_eq!(nearest("", names), None);
    }
}
