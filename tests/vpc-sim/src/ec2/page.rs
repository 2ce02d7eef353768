//! Pages of describe calls. A page token names the last member of the page before, so members that come or go meanwhile
//! move no other to a page that was already read.

use super::query::Params;
use crate::model::error::Ec2Error;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    size: Option<usize>,
    after: Option<String>,
}

/// The page sizes of an action (AWS documentation of each action).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) least: i64,
    pub(super) most: i64,
    /// When the caller says nothing; all when absent.
    pub(super) unless_set: Option<usize>,
}

/// What a token starts with before it is written in hexadecimal.
const TOKEN: &str = "after ";

impl Page {
    pub(super) fn parse(params: &mut Params, bounds: Bounds) -> Result<Self, Ec2Error> {
        let Bounds { least, most, .. } = bounds;
        let size = match params.parsed::<i64>("MaxResults", "Expecting an integer.")? {
            None => bounds.unless_set,
            Some(value) if (least..=most).contains(&value) => usize::try_from(value).ok(),
            Some(value) => return Err(Ec2Error::InvalidMaxResults { value, least, most }),
        };
        let after = match params.text("NextToken") {
            None => None,
            Some(token) if token.is_empty() => None,
            Some(token) => Some(from_hex(&token).ok_or(Ec2Error::InvalidPaginationToken)?),
        };
        Ok(Self { size, after })
    }

    /// Whether the caller asked for a page, and not for everything.
    pub(super) fn asked(&self) -> bool {
        *self != Self::default()
    }

    /// The page and the token of the next one. The list is ordered by `id`.
    pub(super) fn cut<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        if let Some(after) = &self.after {
            items.retain(|item| id(item) > *after);
        }
        match self.size {
            Some(size) if items.len() > size => {
                items.truncate(size);
                let token = items.last().map(|item| to_hex(&id(item)));
                (items, token)
            }
            _ => (items, None),
        }
    }
}

fn to_hex(id: &str) -> String {
    let text = format!("{TOKEN}{id}");
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(token: &str) -> Option<String> {
    let digits: Option<Vec<u32>> = token.chars().map(|digit| digit.to_digit(16)).collect();
    let bytes: Option<Vec<u8>> = digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect();
    String::from_utf8(bytes?)
        .ok()?
        .strip_prefix(TOKEN)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        least: 5,
        most: 1000,
        unless_set: None,
    };

    fn page(form: &str) -> Result<Page, Ec2Error> {
        Page::parse(&mut Params::parse(form).expect("a good form"), BOUNDS)
    }

    #[test]
    fn pages_cover_the_list_once() {
        let all: Vec<String> = (10..23).map(|n| n.to_string()).collect();
        let mut seen = Vec::new();
        let mut form = "MaxResults=5".to_owned();
        loop {
            let (items, next) = page(&form).expect("a page").cut(all.clone(), String::clone);
            seen.extend(items);
            match next {
                Some(token) => form = format!("MaxResults=5&NextToken={token}"),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn sizes_out_of_bounds_and_foreign_tokens_are_refused() {
        assert!(matches!(
            page("MaxResults=4"),
            Err(Ec2Error::InvalidMaxResults { value: 4, .. })
        ));
        assert!(matches!(
            page("MaxResults=1001"),
            Err(Ec2Error::InvalidMaxResults { .. })
        ));
        assert!(matches!(page("MaxResults=x"), Err(Ec2Error::InvalidValue { .. })));
        assert_eq!(page("NextToken=xyz"), Err(Ec2Error::InvalidPaginationToken));
        assert_eq!(page("NextToken=6162"), Err(Ec2Error::InvalidPaginationToken));
    }
}
