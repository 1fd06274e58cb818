using System.ComponentModel;

namespace Rlhf.Training.Preferences;

/// <summary>Settings of <see cref="DpoTrainer"/>: direct preference optimization and its kin.</summary>
/// <remarks>Names and defaults are those of TRL's DPOConfig, ORPOConfig and CPOConfig.</remarks>
public sealed record DpoConfig : PreferenceConfig
{
    /// <summary>What is minimized; by default DPO's <see cref="PreferenceLoss.Sigmoid"/>.</summary>
    [Description("What is minimized over pairs: sigmoid (DPO), hinge, ipo, exo-pair, nca-pair, robust, sppo-hard, aot, aot-pair, apo-zero or apo-down; "
        + "or without a reference orpo, cpo, cpo-hinge, cpo-ipo or simpo.")]
    public PreferenceLoss Loss { get; init; }

    /// <summary>
    /// ε: share of pairs whose label may be the wrong way round; 0 by default. For <see cref="PreferenceLoss.ExoPair"/> 0 stands for 0.001, as in TRL.
    /// </summary>
    [Description("Share of pairs whose label may be the wrong way round, from 0 to below 0.5.")]
    public double LabelSmoothing { get; init; }

    /// <summary>Take the reference for one that finds all answers equally likely; false by default.</summary>
    [Description("Leave the reference out: all answers count as equally likely under it.")]
    public bool ReferenceFree { get; init; }

    /// <summary>The divergence that rewards stand for; reverse KL by default.</summary>
    [Description("The divergence from the reference that rewards stand for.")]
    public FDivergence DivergenceType { get; init; }

    /// <summary>α of the alpha divergence; 1 by default.</summary>
    [Description("Alpha of the alpha divergence.")]
    public double AlphaDivergenceCoef { get; init; } = 1;

    /// <summary>Weight of the chosen answers' mean cross entropy, which keeps them likely (RPO, Pang et al. 2024); null, the default, leaves it out.</summary>
    [Description("Weight of the chosen answers' cross entropy, which keeps them likely; default: none.")]
    public double? RpoAlpha { get; init; }

    /// <summary>CPO and SimPO: weight of the chosen answers' mean cross entropy. Null, the default, is 1 for CPO and 0 for SimPO.</summary>
    [Description("CPO and SimPO: weight of the chosen answers' cross entropy; default: 1 for CPO, 0 for SimPO.")]
    public double? CpoAlpha { get; init; }

    /// <summary>SimPO: γ, the margin to reach; 0.5 by default.</summary>
    [Description("SimPO: the margin to reach.")]
    public double SimpoGamma { get; init; } = 0.5;

    /// <summary>Are answers compared with what a reference says of them?</summary>
    public bool UsesReference => !ReferenceFree && !LearnsAlone;

    /// <summary>Is the loss one that never has a reference?</summary>
    internal bool LearnsAlone => Loss is PreferenceLoss.Orpo || IsContrastive;

    /// <summary>Is the loss CPO's or SimPO's?</summary>
    internal bool IsContrastive => Loss is PreferenceLoss.Cpo or PreferenceLoss.CpoHinge or PreferenceLoss.CpoIpo or PreferenceLoss.Simpo;

    /// <summary>Are an answer's logprobs averaged over its tokens rather than summed?</summary>
    internal bool IsPerToken => Loss is PreferenceLoss.Ipo or PreferenceLoss.CpoIpo or PreferenceLoss.Simpo or PreferenceLoss.Orpo;

    /// <summary>The weight of the chosen answers' cross entropy beside the loss of pairs; 0 leaves it out.</summary>
    internal double CrossEntropyWeight => Loss == PreferenceLoss.Orpo ? 1
        : IsContrastive ? CpoAlpha ?? (Loss == PreferenceLoss.Simpo ? 0 : 1)
        : RpoAlpha ?? 0;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (!(LabelSmoothing is >= 0 and < 0.5))
            yield return $"LabelSmoothing is {LabelSmoothing}; it must be at least 0 and below 0.5.";
        else if (LabelSmoothing > 0 && Loss is not (PreferenceLoss.Sigmoid or PreferenceLoss.Robust or PreferenceLoss.ExoPair or PreferenceLoss.Aot
            or PreferenceLoss.AotPair or PreferenceLoss.Cpo or PreferenceLoss.Simpo))
            yield return $"LabelSmoothing has no meaning for Loss {Loss}; leave it out, or choose sigmoid, robust, exo-pair, aot, aot-pair, cpo or simpo.";
        if (ReferenceFree && LearnsAlone)
            yield return $"ReferenceFree has no meaning for Loss {Loss}, which never has a reference; leave it out.";
        if (ReferenceFree && Loss is PreferenceLoss.SppoHard or PreferenceLoss.NcaPair or PreferenceLoss.Aot or PreferenceLoss.AotPair && ReferenceFree)
            yield return $"Loss {Loss} compares with a reference; leave ReferenceFree out, or choose sigmoid, hinge, ipo, robust, exo-pair or an apo.";
        if (DivergenceType != FDivergence.ReverseKl && Loss is not (PreferenceLoss.Sigmoid or PreferenceLoss.Hinge or PreferenceLoss.Ipo
            or PreferenceLoss.Robust or PreferenceLoss.ExoPair))
            yield return $"DivergenceType has no meaning for Loss {Loss}; leave it out, or choose sigmoid, hinge, ipo, robust or exo-pair.";
        if (!(AlphaDivergenceCoef > 0)) yield return $"AlphaDivergenceCoef is {AlphaDivergenceCoef}; it must be above 0.";
        if (RpoAlpha is { } alpha && !(alpha >= 0)) yield return $"RpoAlpha is {alpha}; it must be 0 or more, or left out.";
        if (RpoAlpha is not null && LearnsAlone)
            yield return $"RpoAlpha has no meaning for Loss {Loss}, which has a cross entropy of its own; leave it out{(IsContrastive ? ", or set CpoAlpha" : "")}.";
        if (CpoAlpha is { } weight && !(weight >= 0)) yield return $"CpoAlpha is {weight}; it must be 0 or more, or left out.";
        if (CpoAlpha is not null && !IsContrastive) yield return $"CpoAlpha is for the losses of CPO and SimPO; leave it out{(LearnsAlone ? "" : ", or set RpoAlpha")}.";
        if (!(SimpoGamma >= 0)) yield return $"SimpoGamma is {SimpoGamma}; it must be 0 or more.";
    }
}
