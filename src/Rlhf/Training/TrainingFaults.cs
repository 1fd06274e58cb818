using System.Diagnostics;
using System.Globalization;
using Rlhf.Runtime;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Training;

/// <summary>Where the faults of a <see cref="FaultPlan"/> enter an optimizer step, so that tests see the guards at work.</summary>
internal static class TrainingFaults
{
    /// <summary>The gradients of an update; late: of one that is not its step's first.</summary>
    public static void AfterBackward(FaultPlan faults, long step, Adam optimizer, bool isLate = false)
    {
        if (!faults.Strikes(FaultPlan.NanGradient, step) && !(isLate && faults.Strikes(FaultPlan.LateNanGradient, step)))
            return;
        using var noGrad = no_grad();
        using var gradient = optimizer.States[^1].Parameter.grad;
        gradient?.fill_(double.NaN);
    }

    /// <summary>The loss of an update.</summary>
    public static double Loss(FaultPlan faults, long step, double loss) =>
        faults.Strikes(FaultPlan.NanLoss, step) ? double.NaN : loss;

    /// <summary>Somebody stops the process (SIGTERM) just as an evaluation begins.</summary>
    public static void BeforeEvaluation(FaultPlan faults, long step, CancellationToken cancellation)
    {
        if (!faults.Strikes(FaultPlan.StopInEvaluation, step))
            return;
        using var kill = Process.Start("kill", ["-TERM", Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]);
        cancellation.WaitHandle.WaitOne(TimeSpan.FromMinutes(1));
    }
}
