using Microsoft.Extensions.Logging;
using Rlhf.Tracking;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Runs;

/// <summary>What happens to a run beside its steps, told to whoever shows or logs it.</summary>
internal abstract class SessionEvents
{
    /// <summary>A checkpoint is damaged and was renamed.</summary>
    public abstract void Damaged(string checkpoint, string why);

    /// <summary>The run resumes from a checkpoint.</summary>
    public abstract void Resumed(Checkpoint checkpoint);

    /// <summary>A run is to be resumed, and there is no whole checkpoint: it begins again.</summary>
    public abstract void NothingToResume();

    /// <summary>The run was stopped.</summary>
    /// <param name="canResume">Is there a checkpoint?</param>
    public abstract void Stopped(bool canResume);

    /// <summary>The run failed, and was saved as far as it could be.</summary>
    public abstract void Failed(SessionFailure failure);

    /// <summary>A checkpoint could not be written.</summary>
    /// <param name="step">Its step.</param>
    /// <param name="error">Why.</param>
    /// <param name="saved">The newest step of which there is one; null: none.</param>
    public abstract void NotSaved(long step, Exception error, long? saved);

    /// <summary>A checkpoint was written, and an earlier one could not be removed.</summary>
    public abstract void NotRemoved(long step, Exception error);

    /// <summary>run.json or the report could not be written.</summary>
    public abstract void NotNoted(Exception error);

    /// <summary>A sink of metrics failed.</summary>
    public abstract void SinkFailed(SinkFailure failure);
}

/// <summary>How a run stands after it has failed.</summary>
/// <param name="Error">Why it failed.</param>
/// <param name="Usable">Are the weights usable? Then they were saved.</param>
/// <param name="IsBetweenSteps">Had the failing step changed no weight yet?</param>
/// <param name="StepCount">Steps that are done.</param>
/// <param name="Good">The last good checkpoint.</param>
/// <param name="IsNewest">Is that one the newest of all?</param>
/// <param name="Earlier">One before it, to resume from should it fail at once again; null where there is none, or no reason.</param>
internal sealed record SessionFailure(
    Exception Error, bool Usable, bool IsBetweenSteps, long StepCount, Checkpoint? Good, bool IsNewest, Checkpoint? Earlier);

/// <summary>The same as lines of a log.</summary>
internal sealed class LoggedSessionEvents(ILogger log, string folder) : SessionEvents
{
    public override void Damaged(string checkpoint, string why) => log.LogWarning("Checkpoint {Path} is damaged and was renamed: {Reason}", checkpoint, why);

    public override void Resumed(Checkpoint checkpoint) =>
        log.LogInformation("Resumed after step {Step}, from {Checkpoint}.", checkpoint.Step, checkpoint.Folder);

    public override void NothingToResume() => log.LogInformation("{Folder} holds no checkpoint that can be used: the run begins again.", folder);

    public override void Stopped(bool canResume) => log.LogInformation("The run in {Folder} was stopped.", folder);

    public override void Failed(SessionFailure failure) => log.LogError(failure.Error,
        "The run failed after step {Step}; its weights {State}. The last good checkpoint: {Checkpoint}.", failure.StepCount,
        failure.Usable ? "are saved" : "are not usable and were not saved", failure.Good?.Folder ?? "none");

    public override void NotSaved(long step, Exception error, long? saved) =>
        log.LogWarning(error, "Step {Step} could not be saved in {Folder}; the run continues.", step, folder);

    public override void NotRemoved(long step, Exception error) =>
        log.LogWarning(error, "Step {Step} is saved, but an earlier checkpoint could not be removed.", step);

    public override void NotNoted(Exception error) => log.LogWarning(error, "The notes of {Folder} could not be written.", folder);

    public override void SinkFailed(SinkFailure failure) => log.LogWarning(failure.Error, "{Failure}", failure.ToString());
}
