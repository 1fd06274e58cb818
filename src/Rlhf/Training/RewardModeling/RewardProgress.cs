namespace Rlhf.Training.RewardModeling;

/// <summary>The state of reward modelling after an optimizer step.</summary>
/// <param name="Step">Optimizer steps so far; 1 is the first.</param>
/// <param name="TotalSteps">Steps of the whole run.</param>
/// <param name="Epoch">Passes over the data so far, as a fraction.</param>
/// <param name="Loss">Mean loss of the step's texts or pairs, before the update.</param>
/// <param name="Accuracy">
/// Share of the step's texts classified right, or of its pairs whose chosen text has the higher reward.
/// </param>
/// <param name="LearningRate">Learning rate of the update.</param>
/// <param name="GradNorm">Norm of the gradient before clipping.</param>
/// <param name="Tokens">Tokens trained on so far.</param>
/// <param name="Elapsed">Time since the run began, evaluations included.</param>
/// <param name="Evaluation">Result on held-out data when this step ended with an evaluation.</param>
public sealed record RewardProgress(
    long Step, long TotalSteps, double Epoch, double Loss, double Accuracy, double LearningRate, double GradNorm, long Tokens,
    TimeSpan Elapsed, RewardEvaluation? Evaluation)
{
    /// <summary>Steps in a row, up to this one, whose update was left out because loss or gradient was not finite.</summary>
    public int BadStepsInARow { get; init; }

    /// <summary>Time spent on steps since the run began, evaluations and whatever else is between steps left out.</summary>
    public TimeSpan TrainingTime { get; init; }

    /// <summary>Mean rate of <see cref="Tokens"/> over <see cref="TrainingTime"/>; 0 before the first step.</summary>
    public double TokensPerSecond => TrainingTime > TimeSpan.Zero ? Tokens / TrainingTime.TotalSeconds : 0;

    /// <summary>
    /// The step was to end with an evaluation that a stop interrupted. A run that goes on makes it up before its next step, and reports the
    /// step then.
    /// </summary>
    public bool EvaluationIsDue { get; init; }

    /// <summary>What to say of the step if its update was left out; null elsewhere.</summary>
    public string? Warning => BadStepsInARow > 0 ? BadSteps.Warning(Step, Loss, GradNorm) : null;
}

/// <summary>How a reward model does on data that it was not trained on.</summary>
/// <param name="Examples">Texts or pairs.</param>
/// <param name="Loss">Mean loss, the training's own.</param>
/// <param name="Accuracy">Share of texts classified right, or of pairs whose chosen text has the higher reward.</param>
public sealed record RewardEvaluation(int Examples, double Loss, double Accuracy);
