using System.ComponentModel;
using Rlhf.Runtime;

namespace Rlhf.Training.Loop;

/// <summary>What a run does about a step that looks like divergence.</summary>
public enum GuardAction
{
    /// <summary>Say and count it, and go on.</summary>
    Warn,

    /// <summary>
    /// Also count the step as bad, although it is learnt from: too many such steps in a row stop the run
    /// (<see cref="DivergenceConfig.MaxBadSteps"/>).
    /// </summary>
    Tolerate,

    /// <summary>
    /// Leave the update out as well: no weight and no moment of the optimizer changes. Here, too, too many such steps in a row stop the
    /// run.
    /// </summary>
    Skip,

    /// <summary>Stop the run at once.</summary>
    Stop,
}

/// <summary>
/// When a run over rollouts is taken to diverge, and what it does then. Counts are metrics under <c>ppo/guard/</c>, or <c>guard/</c> for
/// algorithms that compare the answers of groups.
/// </summary>
[MayChange]
public sealed record DivergenceConfig
{
    /// <summary>
    /// A loss, gradient or logit of a minibatch that is NaN or infinite: skip leaves its update out; to go on with it is impossible. Numbers
    /// that are not finite before a step's first update always stop the run, as the weights themselves are damaged.
    /// </summary>
    [Description("Loss, gradient or logit that is not finite: skip (that update) or stop.")]
    public GuardAction NonFiniteAction { get; init; } = GuardAction.Skip;

    /// <summary>A reward that is NaN or infinite: stop, or skip (the sample is left out of its step).</summary>
    [Description("Reward that is not finite: skip (that sample) or stop.")]
    public GuardAction NonFiniteRewardAction { get; init; } = GuardAction.Stop;

    /// <summary>
    /// Largest objective/kl, in nats per response, of either sign. Null is 20 times PPO's target (120 where no target is steered to), or 1
    /// per response token if that is more: a KL adds up
    /// over the tokens, so that long responses have a large one in good health.
    /// </summary>
    [Description("Largest KL per response (nats) of either sign; default: 20 times the target (120 without one), at least 1 per token.")]
    public double? KlLimit { get; init; }

    /// <summary>
    /// A KL beyond <see cref="KlLimit"/>. Tolerate learns from such a step, because the KL penalty in its rewards is what pulls the policy
    /// back; a policy that does not come back stops the run. Skip leaves such steps out: enough against a batch that is an outlier, but the
    /// weights stay where they are. Below minus the limit, where the penalty would pay for drifting, tolerate is skip.
    /// </summary>
    [Description("KL beyond that limit: warn, tolerate (a few steps, which pull the policy back), skip (the step's updates) or stop.")]
    public GuardAction KlAction { get; init; } = GuardAction.Tolerate;

    /// <summary>A KL below minus this, in nats per response, is no accident of sampling.</summary>
    [Description("A KL per response (nats) below minus this is negative for a reason.")]
    public double NegativeKlLimit { get; init; } = 1;

    /// <summary>A KL below minus <see cref="NegativeKlLimit"/>.</summary>
    [Description("KL below minus that limit: warn, tolerate (a few steps), skip (the step's updates) or stop.")]
    public GuardAction NegativeKlAction { get; init; } = GuardAction.Warn;

    /// <summary>Least entropy of the responses: mean of -logprob of their tokens, in nats per token.</summary>
    [Description("Least entropy of the responses, in nats per token.")]
    public double EntropyFloor { get; init; } = 0.05;

    /// <summary>An entropy below <see cref="EntropyFloor"/>.</summary>
    [Description("Entropy below that floor: warn, tolerate (a few steps), skip (the step's updates) or stop.")]
    public GuardAction EntropyAction { get; init; } = GuardAction.Warn;

    /// <summary>
    /// Rewards of a batch of two or more that are all the same, or of each group of answers: nothing but the KL penalty is left to learn.
    /// </summary>
    [Description("Rewards of a batch that are all equal: warn, tolerate (a few steps), skip (the step's updates) or stop.")]
    public GuardAction EqualRewardsAction { get; init; } = GuardAction.Warn;

    /// <summary>
    /// Steps in a row with something left out or tolerated, after which the run continues; one more stops it. 0 stops at the first.
    /// </summary>
    [Description("Steps in a row in which something may be left out or tolerated, before the run stops.")]
    public int MaxBadSteps { get; init; } = 5;

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (NonFiniteAction is GuardAction.Warn or GuardAction.Tolerate)
            yield return $"NonFiniteAction is {Name(NonFiniteAction)}, but an update that is not finite would destroy the weights; use skip or stop.";
        if (NonFiniteRewardAction is GuardAction.Warn or GuardAction.Tolerate)
            yield return $"NonFiniteRewardAction is {Name(NonFiniteRewardAction)}, but nothing can be learnt from such a reward; use skip or stop.";
        if (KlLimit is { } limit && !(limit > 0)) yield return $"KlLimit is {limit}; it must be above 0, or left out.";
        if (!(NegativeKlLimit >= 0)) yield return $"NegativeKlLimit is {NegativeKlLimit}; it must be 0 or more.";
        if (!(EntropyFloor >= 0)) yield return $"EntropyFloor is {EntropyFloor}; it must be 0 or more.";
        if (MaxBadSteps < 0) yield return $"MaxBadSteps is {MaxBadSteps}; it must be 0 or more.";

        static string Name(GuardAction action) => action.ToString().ToLowerInvariant();
    }
}
