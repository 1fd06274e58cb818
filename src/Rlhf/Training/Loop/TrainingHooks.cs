using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Training.Loop;

/// <summary>Places of a step at which a test can look on or interfere. Here none of them does anything.</summary>
internal class TrainingHooks
{
    /// <summary>What new trainers take.</summary>
    public static TrainingHooks Default { get; set; } = new();

    /// <summary>The loss of an optimizer step.</summary>
    public virtual double Loss(long step, double loss) => loss;

    /// <summary>The gradients are complete, and the optimizer has not used them; isFirst: of the step's first update.</summary>
    public virtual void AfterBackward(long step, bool isFirst, IOptimizer optimizer)
    {
    }

    /// <summary>An evaluation on held-out data begins.</summary>
    public virtual void BeforeEvaluation(long step, CancellationToken cancellation)
    {
    }

    /// <summary>What the reward gave.</summary>
    public virtual IReadOnlyList<float> Scores(long step, IReadOnlyList<float> scores) => scores;

    /// <summary>Numbers [R] that a PPO step begins with.</summary>
    public virtual void BeforeUpdates(long step, float[] logprobs, float[] kls)
    {
    }

    /// <summary>Advantages [r] of a minibatch.</summary>
    public virtual void BeforeForward(long step, float[] advantages)
    {
    }

    /// <summary>Hidden states [r, D] of a minibatch, before the output layer.</summary>
    public virtual Tensor Hidden(long step, Tensor hidden) => hidden;
}
