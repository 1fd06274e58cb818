using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Rewards;
using Rlhf.Training.Groups;
using Rlhf.Training.Loop;
using static TorchSharp.torch;

namespace Rlhf.Training.Rloo;

/// <summary>
/// REINFORCE leave-one-out: an answer's baseline is the mean reward of the others to the same prompt, the KL penalty is part of the
/// reward, and ratios are of whole answers. TRL's RLOOTrainer, number for number.
/// </summary>
/// <remarks>The step is <see cref="GroupTrainer"/>'s; here are its advantages and its loss. Formulas are in <see cref="RlooMath"/>.</remarks>
public sealed class RlooTrainer : GroupTrainer
{
    /// <summary>Prepares the trainer.</summary>
    /// <param name="policy">The policy; trained in place.</param>
    /// <param name="config">The settings.</param>
    /// <param name="reference">What the policy is held near to, freed with the trainer if it is a copy; null makes a frozen copy of the policy
    /// as it is now, or takes the policy with its adapter off where it has one, if <see cref="GroupConfig.Beta"/> is above 0.</param>
    /// <param name="totalSteps">Steps of the run, for schedules that end; required unless the schedule is constant.</param>
    /// <exception cref="Runtime.ConfigurationException">A setting cannot be used.</exception>
    /// <exception cref="ArgumentException">The schedule needs <paramref name="totalSteps"/>, a reference is given with Beta 0, or all
    /// parameters are frozen.</exception>
    public RlooTrainer(CausalLM policy, RlooConfig config, Reference? reference = null, long? totalSteps = null)
        : base(policy, config, reference, totalSteps) => Config = config;

    /// <summary>The settings.</summary>
    public RlooConfig Config { get; }

    /// <inheritdoc/>
    public override string Name => "rloo";

    private protected override GroupAdvantages Advantages(
        StepRows rows, AnswerLogprobs before, IReadOnlyList<float> scores, IReadOnlyList<ScoreComponent> components)
    {
        double[] rewards = [.. scores.Select(s => Config.RewardClip is { } clip ? Math.Clamp(s, -clip, clip) : s)];
        if (before.RefLogprobs is { } reference)
            rewards = RlooMath.PenalizedRewards(rewards, before.Logprobs, reference, rows.Mask, rows.Offsets, Config.Beta);
        return RlooMath.Advantages(rewards, Config.NumGenerations, Config.NormalizeAdvantages);
    }

    private protected override MiniBatchLoss Loss(MiniBatchTokens tokens, UpdateSize update)
    {
        // 1. Ratios of new to old probability of whole answers [b].
        var rows = tokens.Rows;
        var ratio = GroupMath.Ratio(rows.SumPerRow((tokens.Logprobs - tokens.OldLogprobs) * tokens.Mask));

        // 2. PPO's clipped objective, mean over answers.
        var advantages = tokens.MeanPerRow(tokens.Advantages);
        var loss = GroupMath.ClippedLoss(ratio, advantages, Config.LowerClip, Config.UpperClip).sum() / update.Rows;

        using var noGrad = no_grad();
        var metrics = MiniBatchLoss.ClipRatios(tokens, rows.Spread(ratio.detach()), Config, wholeAnswers: true);
        metrics["entropy"] = tokens.Mean(tokens.Entropies);
        if (tokens.RefLogprobs is { } reference)
            metrics["kl"] = tokens.Mean(tokens.OldLogprobs - reference);
        return new(loss, metrics);
    }
}
