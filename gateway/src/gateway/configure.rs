//! The configuration as an operator asks for it: shown, checked, replaced, gone back to, explained.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::source::{Wanted, build};
use super::{Cause, Gateway, GatewayError, Shared};
use crate::config::{Fault, Loaded, MASK, Text, Texts, masked, warnings};
use crate::control::{Asked, ConfigDocument, ConfigReport, ConfigRollback, History, OperationError};
use crate::snapshot::{Choices, Question, expiring, explain};

impl Gateway {
    pub(super) async fn config_report(&self) -> ConfigReport {
        let (texts, generation) = {
            let running = self.0.running.lock().await;
            (running.texts.clone(), self.0.current.load().generation)
        };
        let documents = texts.iter().map(|text| ConfigDocument { name: text.name.clone(), text: masked(text) });
        ConfigReport {
            sha256: texts.sha256(),
            generation,
            source: self.0.source.sources.name().to_owned(),
            replaceable: self.0.source.sources.only_file().is_some(),
            documents: documents.collect(),
            reload: None,
        }
    }

    /// Checks a text as if it were the configuration's own file.
    pub(super) async fn check_text(&self, text: String) -> Result<Value, OperationError> {
        let texts = self.0.texts_with(text);
        let (Loaded { config, document, .. }, mut found) = self.0.try_out(&texts).await?;
        found.extend(warnings(&config));
        let warnings = document.warnings(found);
        Ok(json!({
            "routes": config.routes.len(),
            "upstreams": config.upstreams.len(),
            "plugins": config.plugins.len(),
            "warnings": warnings.map_or_else(|| json!([]), |warnings| warnings.to_json()),
        }))
    }

    /// Writes a text to the file that the configuration came from, once it is known to be good, and lets it serve.
    pub(super) async fn replace_text(
        &self,
        text: String,
        tag: &str,
        actor: &str,
    ) -> Result<ConfigReport, OperationError> {
        let _turn = self.0.replacing.lock().await;
        let Some(file) = self.0.source.sources.only_file().map(Path::to_owned) else {
            let name = self.0.source.sources.name();
            let detail = format!("the configuration is not this API's to write: it comes from {name}; change it there");
            return Err(OperationError::Conflict(detail));
        };
        if text.contains(MASK) {
            let detail = format!("the text holds `{MASK}`, which stands for secrets that are not shown: fill them in");
            return Err(OperationError::Invalid(detail));
        }
        let now = self.0.source.sources.read().await.map_err(|error| OperationError::Failed(error.to_string()))?;
        let serving = self.0.running.lock().await.source_texts.clone();
        if now != *serving {
            let detail = "the file has changed since it was read: reload first, and look at what it says now";
            return Err(OperationError::Stale(detail.to_owned()));
        }
        let wanted = tag.trim().trim_start_matches("W/").trim_matches('"');
        if wanted != "*" && wanted != now.sha256() {
            return Err(OperationError::Stale(
                "`If-Match` names another configuration than the one there is".to_owned(),
            ));
        }
        let texts = self.0.texts_with(text.clone());
        self.0.try_out(&texts).await?;
        let before = now.own.first().map(|text| text.text.clone()).unwrap_or_default();
        write(&file, &text)
            .map_err(|error| OperationError::Failed(format!("cannot write {}: {error}", file.display())))?;
        tracing::info!(actor, file = %file.display(), "the configuration was written");
        match self.reload_on(Cause::Operator("api"), Wanted::Read).await {
            Ok(report) => Ok(ConfigReport { reload: Some(report), ..self.config_report().await }),
            Err(error) => {
                if let Err(error) = write(&file, &before) {
                    tracing::error!(%error, file = %file.display(), "the configuration before cannot be put back");
                }
                Err(error.into())
            }
        }
    }

    pub(super) async fn roll_back_to(&self, number: Option<u64>) -> Result<ConfigRollback, OperationError> {
        let history = self.0.history();
        let in_use = self.0.told().config.edition;
        let found = history.find(number, in_use).map_err(|error| OperationError::Conflict(error.to_string()));
        let (edition, texts) = found?;
        let reload = self.reload_on(Cause::Operator("rollback"), Wanted::Kept(texts)).await?;
        Ok(ConfigRollback { number: edition.number, since: edition.since, reload })
    }

    pub(super) async fn explained(&self, asked: Asked) -> Result<Value, OperationError> {
        let fields: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let invalid = |error: crate::snapshot::QuestionError| OperationError::Invalid(error.to_string());
        let question = Question::parse(&asked.method, &asked.url, &fields).map_err(invalid)?;
        let question = Question { listener: asked.listener, ..question };
        let config = self.0.running.lock().await.config.clone();
        let snapshot = self.0.current.load_full();
        let explanation = explain(&config, Some(&snapshot), self.0.runtime.trust(), &question).map_err(invalid)?;
        serde_json::to_value(explanation).map_err(|error| OperationError::Failed(error.to_string()))
    }
}

impl Shared {
    pub(super) fn history(&self) -> History {
        History::of(&self.state_dir, self.source.sources.name())
    }

    /// What is kept, the latest first, and which of it serves.
    pub(super) fn editions(&self) -> Value {
        let in_use = self.told().config.edition;
        let kept = self.history().list().into_iter().map(|edition| {
            let serves = in_use == Some(edition.number);
            json!({
                "number": edition.number, "since": edition.since, "reason": edition.reason,
                "sha256": edition.sha256, "serves": serves,
            })
        });
        kept.collect()
    }

    /// A text in the place of the one file, with what it includes.
    fn texts_with(&self, text: String) -> Texts {
        let file = self.source.sources.only_file().map_or_else(|| PathBuf::from("<request>"), Path::to_owned);
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let own = vec![Text { name: file.display().to_string(), folder, text, unread: None }];
        let mut texts = Texts { own, ..Texts::default() };
        texts.read_included();
        texts
    }

    /// Builds what texts say, and drops it.
    async fn try_out(&self, texts: &Texts) -> Result<(Loaded, Vec<Fault>), OperationError> {
        texts.check_size().map_err(|faults| OperationError::from(GatewayError::Config(faults)))?;
        let loaded = self.source.load(texts)?;
        let previous = self.current.load_full();
        let snapshot = build(&loaded, &Choices::new(), Some(&previous), &self.runtime).await?;
        let warnings = expiring(&loaded.config, &snapshot);
        Ok((loaded, warnings))
    }
}

/// All or nothing: whoever reads meanwhile sees the old file or the new one. A link stays a link.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let target = path.canonicalize()?;
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".witgate-").suffix(".new").tempfile_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().set_permissions(std::fs::metadata(&target)?.permissions())?;
    draft.as_file().sync_all()?;
    draft.persist(&target).map_err(|error| error.error)?;
    Ok(())
}
