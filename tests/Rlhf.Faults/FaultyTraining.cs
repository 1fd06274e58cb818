using System.Diagnostics;
using System.Globalization;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Faults;

/// <summary>The faults of a plan, where a training meets them.</summary>
internal sealed class FaultyTraining(FaultPlan faults) : TrainingHooks
{
    public override double Loss(long step, double loss) => faults.Strikes(FaultPlan.NanLoss, step) ? double.NaN : loss;

    public override void AfterBackward(long step, bool isFirst, IOptimizer optimizer)
    {
        if (!faults.Strikes(FaultPlan.NanGradient, step) && (isFirst || !faults.Strikes(FaultPlan.LateNanGradient, step)))
            return;
        using var noGrad = no_grad();
        using var gradient = optimizer.Parameters[^1].Value.grad;
        using var filled = gradient?.fill_(double.NaN);
    }

    /// <summary>Somebody stops the process (SIGTERM) just as an evaluation begins.</summary>
    public override void BeforeEvaluation(long step, CancellationToken cancellation)
    {
        if (!faults.Strikes(FaultPlan.StopInEvaluation, step))
            return;
        using var kill = Process.Start("kill", ["-TERM", Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]);
        cancellation.WaitHandle.WaitOne(TimeSpan.FromMinutes(1));
    }

    public override IReadOnlyList<float> Scores(long step, IReadOnlyList<float> scores) =>
        faults.Strikes(FaultPlan.NanReward, step) ? [float.NaN, .. scores.Skip(1)]
        : faults.Strikes(FaultPlan.EqualRewards, step) ? [.. scores.Select(_ => 1f)] : scores;

    public override void BeforeUpdates(long step, float[] logprobs, float[] kls)
    {
        if (faults.Strikes(FaultPlan.EntropyCollapse, step))
            Array.Clear(logprobs);
        if (faults.Strikes(FaultPlan.KlExplosion, step))
            Array.Fill(kls, 1000);
        if (faults.Strikes(FaultPlan.NegativeKl, step))
            Array.Fill(kls, -2);
    }

    public override void BeforeForward(long step, float[] advantages)
    {
        if (faults.Strikes(FaultPlan.NanLoss, step))
            advantages[0] = float.NaN;
        if (faults.Strikes(FaultPlan.ThrowingBackward, step))
            FailNextBackwardPass();
    }

    public override Tensor Hidden(long step, Tensor hidden) => faults.Strikes(FaultPlan.NanLogit, step) ? hidden * double.NaN : hidden;

    /// <summary>Makes the next function of a backward pass on this thread throw.</summary>
    public static void FailNextBackwardPass() => BackwardPass.Entering = () =>
    {
        BackwardPass.Entering = null;
        throw new InvalidOperationException("A fault in a backward pass, put there by a test.");
    };
}
