//! Large look-up data of the gateway's configuration, such as the keys of a hundred thousand clients. It stays in the
//! gateway; a plugin asks for one entry at a time.
//!
//! Needs `grants: { tables: [NAME] }`.
//!
//! ```
//! use serde::Deserialize;
//! use witgate_plugin::{Error, table::Table};
//!
//! #[derive(Deserialize)]
//! struct Client {
//!     id: String,
//! }
//!
//! # fn id_of(clients: &Table, key: &str) -> Result<Option<String>, Error> {
//! let client: Option<Client> = clients.get(key)?;
//! Ok(client.map(|client| client.id))
//! # }
//! ```

use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::decode;
use crate::host::tables;

/// A table of the configuration, opened.
#[derive(Debug)]
pub struct Table(tables::Table);

impl Table {
    /// Open a table by its name in the configuration; do it in [`Plugin::configure`](crate::Plugin::configure), so that a wrong
    /// name is found before any request comes.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted this table.
    ///
    /// ```
    /// # use witgate_plugin::{Error, table::Table};
    /// # fn configure() -> Result<Table, Error> {
    /// Table::open("clients")
    /// # }
    /// ```
    pub fn open(name: &str) -> Result<Table, Error> {
        tables::Table::open(name).map(Table).map_err(Error::new)
    }

    /// The entry under a key, decoded.
    ///
    /// # Errors
    ///
    /// The entry is not what `T` takes.
    ///
    /// ```
    /// # use witgate_plugin::{Error, table::Table};
    /// # fn scopes(clients: &Table, key: &str) -> Result<Vec<String>, Error> {
    /// Ok(clients.get(key)?.unwrap_or_default())
    /// # }
    /// ```
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.get_json(key).map(|json| decode(&json)).transpose()
    }

    /// The entry under a key, as JSON.
    ///
    /// ```
    /// # use witgate_plugin::table::Table;
    /// # fn is_known(clients: &Table, key: &str) -> bool {
    /// clients.get_json(key).is_some()
    /// # }
    /// ```
    pub fn get_json(&self, key: &str) -> Option<String> {
        self.0.get(key)
    }
}
