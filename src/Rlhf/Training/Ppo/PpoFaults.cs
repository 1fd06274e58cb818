using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>
/// Where the faults of a <see cref="FaultPlan"/> enter a PPO step, so that tests see the guards at work. Nothing without a plan.
/// </summary>
internal static class PpoFaults
{
    /// <summary>Scores as a broken reward function gives them.</summary>
    public static IReadOnlyList<float> Scores(FaultPlan faults, long step, IReadOnlyList<float> scores) =>
        faults.Strikes(FaultPlan.NanReward, step) ? [float.NaN, .. scores.Skip(1)]
        : faults.Strikes(FaultPlan.EqualRewards, step) ? [.. scores.Select(_ => 1f)] : scores;

    /// <summary>Numbers that a step begins with [R].</summary>
    public static void BeforeUpdates(FaultPlan faults, long step, float[] logprobs, float[] kls)
    {
        if (faults.Strikes(FaultPlan.EntropyCollapse, step))
            Array.Clear(logprobs);
        if (faults.Strikes(FaultPlan.KlExplosion, step))
            Array.Fill(kls, 1000);
        if (faults.Strikes(FaultPlan.NegativeKl, step))
            Array.Fill(kls, -2);
    }

    /// <summary>Advantages [r] of a minibatch; also makes its backward pass throw.</summary>
    public static void BeforeForward(FaultPlan faults, long step, float[] advantages)
    {
        if (faults.Strikes(FaultPlan.NanLoss, step))
            advantages[0] = float.NaN;
        if (faults.Strikes(FaultPlan.ThrowingBackward, step))
            BackwardPass.FailNext();
    }

    /// <summary>Hidden states of a minibatch.</summary>
    public static Tensor Hidden(FaultPlan faults, long step, Tensor hidden) =>
        faults.Strikes(FaultPlan.NanLogit, step) ? hidden * double.NaN : hidden;
}
