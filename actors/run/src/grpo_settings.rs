//! The settings of a GRPO step in the form that the optimizer takes, of an arm with its live changes.

use model::loss::{
    Correction, CorrectionLevel, CovarianceControl, GrpoConfig, Importance, KlEstimator, LossKind,
};
use scenarios::ArmConfig;
use workers::{CovarianceSettings, GrpoSettings};

/// The settings of a step of this arm.
pub(crate) fn grpo_settings(config: &ArmConfig) -> GrpoSettings {
    let grpo = &config.grpo;
    GrpoSettings {
        lr: grpo.lr,
        grpo: GrpoConfig {
            loss: match grpo.loss {
                scenarios::LossKind::Grpo => LossKind::Grpo,
                scenarios::LossKind::Bnpo => LossKind::Bnpo,
                scenarios::LossKind::DrGrpo => LossKind::DrGrpo,
                scenarios::LossKind::Dapo => LossKind::Dapo,
                scenarios::LossKind::Gspo => LossKind::Gspo,
                scenarios::LossKind::GspoToken => LossKind::GspoToken,
                scenarios::LossKind::Cispo => LossKind::Cispo,
                scenarios::LossKind::Sapo => LossKind::Sapo,
            },
            importance: Importance::Token,
            clip_low: grpo.clip,
            clip_high: grpo.clip_high(),
            delta: grpo.delta,
            kl_coef: grpo.kl_coef,
            kl_importance_corrected: false,
            kl_estimator: match grpo.kl_estimator {
                scenarios::KlEstimator::K1 => KlEstimator::K1,
                scenarios::KlEstimator::K2 => KlEstimator::K2,
                scenarios::KlEstimator::K3 => KlEstimator::K3,
            },
            sapo_temperature_pos: grpo.sapo_temperature_pos,
            sapo_temperature_neg: grpo.sapo_temperature_neg,
            off_policy_threshold: grpo.off_policy_threshold,
            entropy_coef: grpo.entropy_coef,
            covariance: covariance(grpo).map(|settings| settings.control),
            mode_token_coef: grpo.mode_token_coef,
        },
        correction: correction(grpo.importance_correction, grpo.importance_cap),
        entropy_top_fraction: grpo.entropy_top_fraction,
        covariance: covariance(grpo),
        iterations: grpo.iterations,
        mask_truncated: grpo.mask_truncated,
        measure_ratios: config.sampler.has_servers(),
        temperature: config.sampling.temperature,
    }
}

fn covariance(grpo: &scenarios::GrpoConfig) -> Option<CovarianceSettings> {
    let control = match grpo.covariance {
        scenarios::CovarianceControl::None => return None,
        scenarios::CovarianceControl::Clip => CovarianceControl::Clip,
        scenarios::CovarianceControl::Kl => CovarianceControl::Kl { coefficient: grpo.covariance_kl_coef },
    };
    Some(CovarianceSettings { control, fraction: grpo.covariance_fraction, range: grpo.covariance_range })
}

fn correction(kind: scenarios::ImportanceCorrection, cap: f64) -> Option<Correction> {
    use scenarios::ImportanceCorrection as Kind;
    let (level, mask) = match kind {
        Kind::None => return None,
        Kind::TokenTruncate => (CorrectionLevel::Token, false),
        Kind::TokenMask => (CorrectionLevel::Token, true),
        Kind::SequenceTruncate => (CorrectionLevel::Sequence, false),
        Kind::SequenceMask => (CorrectionLevel::Sequence, true),
        Kind::GeometricTruncate => (CorrectionLevel::Geometric, false),
        Kind::GeometricMask => (CorrectionLevel::Geometric, true),
    };
    Some(Correction { level, mask, cap })
}
