using Rlhf.Models;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Training.Loop;

/// <summary>An algorithm that learns from scored rollouts of its policy, one step at a time; <see cref="RolloutRun"/> is its loop.</summary>
public interface IPolicyTrainer : IResumable
{
    /// <summary>A short name in lower case, such as "ppo". It names the run's random streams: another name, other samples.</summary>
    string Name { get; }

    /// <summary>What answers the queries; trained in place.</summary>
    CausalLM Policy { get; }

    /// <summary>Rows of a step: queries × answers per query.</summary>
    int BatchSize { get; }

    /// <summary>Seed of the run.</summary>
    long Seed { get; }

    /// <summary>Does a score that is not finite stop the run? Otherwise the trainer deals with it. True by default.</summary>
    bool RequiresFiniteScores => true;

    /// <summary>Steps in a row, up to the last one, of which something was left out because its numbers were bad.</summary>
    int BadStepsInARow { get; }

    /// <summary>One step.</summary>
    /// <param name="rollout">What the policy sampled.</param>
    /// <param name="scores">One score per response.</param>
    /// <param name="cancellation">
    /// Gives the step up as long as it has not changed a weight; the trainer is then as it was before it. Afterwards it is finished.
    /// </param>
    /// <exception cref="ArgumentException">Rollout and scores do not fit each other or the settings.</exception>
    /// <exception cref="TrainingDivergedException">The numbers are too bad to be trained on.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled before its first update.</exception>
    PolicyStatistics Step(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation = default);

    /// <summary>The run's last step is over.</summary>
    /// <exception cref="TrainingDivergedException">Its last steps were so bad that its weights cannot be used.</exception>
    void EndRun(long totalSteps)
    {
    }
}
