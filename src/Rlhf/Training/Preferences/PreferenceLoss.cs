namespace Rlhf.Training.Preferences;

/// <summary>
/// What is minimized over pairs. The names are those of TRL's <c>loss_type</c>; ORPO and CPO with SimPO, which TRL has trainers of their
/// own for, need no reference.
/// </summary>
public enum PreferenceLoss
{
    /// <summary>DPO: the negative log-likelihood of the preference (Rafailov et al. 2023, eq. 7).</summary>
    Sigmoid,

    /// <summary>A hinge on the normalized likelihood (SLiC, Zhao et al. 2023).</summary>
    Hinge,

    /// <summary>IPO: squared distance of the margin from 1 / (2β), per token (Azar et al. 2023, eq. 17).</summary>
    Ipo,

    /// <summary>EXO: reverse KL against the preference, with label smoothing (Ji et al. 2024, eq. 16).</summary>
    ExoPair,

    /// <summary>NCA: noise contrastive alignment, which holds the chosen likelihood up (Chen et al. 2024).</summary>
    NcaPair,

    /// <summary>DPO that allows for a share of wrong labels (Chowdhury et al. 2024).</summary>
    Robust,

    /// <summary>SPPO with hard labels: both rewards are drawn to ±1 / (2β) (Wu et al. 2024).</summary>
    SppoHard,

    /// <summary>AOT: alignment by optimal transport of the margins' distributions (Melnyk et al. 2024).</summary>
    Aot,

    /// <summary>AOT over the distributions of chosen and of rejected rewards, which need not be of the same prompts.</summary>
    AotPair,

    /// <summary>APO-zero: raises chosen answers and lowers rejected ones (D'Oosterlinck et al. 2024, eq. 7).</summary>
    ApoZero,

    /// <summary>APO-down: lowers both, rejected answers more, for chosen answers worse than the model's own (the same, eq. 8).</summary>
    ApoDown,

    /// <summary>ORPO: cross entropy of the chosen conversation and a log odds ratio (Hong et al. 2024). No reference.</summary>
    Orpo,

    /// <summary>CPO: DPO's loss without reference, and cross entropy of chosen answers (Xu et al. 2024). No reference.</summary>
    Cpo,

    /// <summary>CPO with the hinge.</summary>
    CpoHinge,

    /// <summary>CPO with IPO's squared distance, per token.</summary>
    CpoIpo,

    /// <summary>SimPO: mean logprobs per token with a target margin γ (Meng et al. 2024). No reference.</summary>
    Simpo,
}

/// <summary>The f-divergence from the reference that DPO's rewards stand for (Wang et al. 2023).</summary>
public enum FDivergence
{
    /// <summary>Reverse KL: DPO as published.</summary>
    ReverseKl,

    /// <summary>Jensen and Shannon's.</summary>
    JsDivergence,

    /// <summary>The alpha divergence, with <see cref="DpoConfig.AlphaDivergenceCoef"/>.</summary>
    AlphaDivergence,
}

/// <summary>What is minimized over single answers. The names are those of TRL's <c>loss_type</c>.</summary>
public enum KtoLoss
{
    /// <summary>KTO: the value of a gain or loss against the KL divergence (Ethayarajh et al. 2024, eq. 8).</summary>
    Kto,

    /// <summary>APO-zero of single answers, without a KL estimate (D'Oosterlinck et al. 2024).</summary>
    ApoZeroUnpaired,
}
