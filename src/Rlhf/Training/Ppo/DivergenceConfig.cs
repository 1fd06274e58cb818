using System.ComponentModel;

namespace Rlhf.Training.Ppo;

/// <summary>What a run does about a step that looks like divergence.</summary>
public enum GuardAction
{
    /// <summary>Say and count it, and go on.</summary>
    Warn,

    /// <summary>
    /// Also leave the update out: no weight and no moment of the optimizer changes. Too many such steps in a row stop the run
    /// (<see cref="DivergenceConfig.MaxBadSteps"/>).
    /// </summary>
    Skip,

    /// <summary>Stop the run at once.</summary>
    Stop,
}

/// <summary>When a PPO run is taken to diverge, and what it does then. Counts are metrics under <c>ppo/guard/</c>.</summary>
public sealed record DivergenceConfig
{
    /// <summary>
    /// A loss, gradient or logit of a minibatch that is NaN or infinite: skip leaves its update out; warn is impossible. Numbers that are
    /// not finite before a step's first update always stop the run, as the weights themselves are damaged.
    /// </summary>
    [Description("Loss, gradient or logit that is not finite: skip (that update) or stop.")]
    public GuardAction NonFiniteAction { get; init; } = GuardAction.Skip;

    /// <summary>A reward that is NaN or infinite: stop, or skip (the sample is left out of its step); warn is impossible.</summary>
    [Description("Reward that is not finite: skip (that sample) or stop.")]
    public GuardAction NonFiniteRewardAction { get; init; } = GuardAction.Stop;

    /// <summary>Largest objective/kl, in nats per response, of either sign; null is 20 times <see cref="PpoConfig.Target"/>.</summary>
    [Description("Largest KL per response (nats) of either sign; unset: 20 times the target.")]
    public double? KlLimit { get; init; }

    /// <summary>A KL beyond <see cref="KlLimit"/>.</summary>
    [Description("KL beyond that limit: warn, skip (the step's updates) or stop.")]
    public GuardAction KlAction { get; init; } = GuardAction.Skip;

    /// <summary>A KL below minus this, in nats per response, is no accident of sampling.</summary>
    [Description("A KL per response (nats) below minus this is negative for a reason.")]
    public double NegativeKlLimit { get; init; } = 1;

    /// <summary>A KL below minus <see cref="NegativeKlLimit"/>.</summary>
    [Description("KL below minus that limit: warn, skip (the step's updates) or stop.")]
    public GuardAction NegativeKlAction { get; init; } = GuardAction.Warn;

    /// <summary>Least entropy of the responses: mean of -logprob of their tokens, in nats per token.</summary>
    [Description("Least entropy of the responses, in nats per token.")]
    public double EntropyFloor { get; init; } = 0.05;

    /// <summary>An entropy below <see cref="EntropyFloor"/>.</summary>
    [Description("Entropy below that floor: warn, skip (the step's updates) or stop.")]
    public GuardAction EntropyAction { get; init; } = GuardAction.Warn;

    /// <summary>Rewards of a batch of two or more that are all the same: nothing but the KL penalty is left to learn.</summary>
    [Description("Rewards of a batch that are all equal: warn, skip (the step's updates) or stop.")]
    public GuardAction EqualRewardsAction { get; init; } = GuardAction.Warn;

    /// <summary>Steps in a row with something left out, after which the run goes on; one more stops it. 0 stops at the first.</summary>
    [Description(BadSteps.Help)]
    public int MaxBadSteps { get; init; } = 5;

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (NonFiniteAction == GuardAction.Warn)
            yield return "NonFiniteAction is warn, but an update that is not finite would destroy the weights; use skip or stop.";
        if (NonFiniteRewardAction == GuardAction.Warn)
            yield return "NonFiniteRewardAction is warn, but nothing can be learnt from such a reward; use skip or stop.";
        if (KlLimit is { } limit && !(limit > 0)) yield return $"KlLimit is {limit}; it must be above 0, or left out.";
        if (!(NegativeKlLimit >= 0)) yield return $"NegativeKlLimit is {NegativeKlLimit}; it must be 0 or more.";
        if (!(EntropyFloor >= 0)) yield return $"EntropyFloor is {EntropyFloor}; it must be 0 or more.";
        if (MaxBadSteps < 0) yield return $"MaxBadSteps is {MaxBadSteps}; it must be 0 or more.";
    }
}
