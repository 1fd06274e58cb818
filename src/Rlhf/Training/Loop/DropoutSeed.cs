using Rlhf.Runtime;
using TorchSharp;

namespace Rlhf.Training.Loop;

/// <summary>Makes dropout a function of the run's seed and the step, so that a run can be continued.</summary>
internal static class DropoutSeed
{
    /// <summary>Seeds libtorch's generators, which dropout draws from, for a step.</summary>
    /// <param name="stream">The run's stream for dropout; it stays where it is.</param>
    /// <param name="step">The step; 1 is the first.</param>
    public static void Set(RandomStream stream, long step) => torch.random.manual_seed((long)(stream.Fork(step).NextUInt64() >> 1));
}
