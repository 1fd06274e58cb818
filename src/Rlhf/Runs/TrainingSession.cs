using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;
using Rlhf.Tracking;
using Rlhf.Training;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Runs;

/// <summary>
/// One process's work on a run: it has the run's folder for itself, resumes from its newest whole checkpoint, logs, saves when it is time,
/// and notes how it ended, so that reports, the studio and a later session know the run. A checkpoint or note that cannot be written
/// never ends the run. <c>rlhf</c>'s own verbs use it, and so may any program, with a <see cref="TrainingKind"/> of its own.
/// </summary>
/// <example>
/// <code>
/// using var session = TrainingSession.Open(kind, new("runs/mine") { Resume = true, Settings = [config] });
/// var last = session.Train(trainer, SaveModel, steps, sinks => trainer.Train(train, heldOut, state => {
///     sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, state.Scalars()));
///     session.AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
/// }, stop), stop);
/// SaveModel(session.Model);
/// session.Finish(last.Step &gt;= steps, new { last.Step, last.Loss });
/// </code>
/// </example>
public sealed class TrainingSession : IDisposable
{
    private static readonly TimeSpan DefaultInterval = TimeSpan.FromMinutes(10);

    private static readonly JsonSerializerOptions SummaryOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
    };

    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly SessionOptions options;
    private readonly IDisposable? guard;
    private readonly SessionEvents events;
    private readonly CheckpointStore store;
    private readonly List<double> scores = [];
    private IResumable? trainer;
    private Action<string>? saveModel;
    private TimeSpan before, lastSave;
    private long? savedStep, soundStep;
    private bool lastWasGood = true;

    /// <summary>A session in a folder that the caller has locked already.</summary>
    internal TrainingSession(TrainingKind kind, SessionOptions options, bool resumes, SessionEvents? events = null, IDisposable? guard = null)
    {
        (Kind, this.options, Resumes, this.guard) = (kind, options, resumes, guard);
        this.events = events ?? new LoggedSessionEvents(
            (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<TrainingSession>(), options.Folder);
        store = new(this[RunFiles.Checkpoints]) { KeepLast = options.KeepLast, Inputs = options.Inputs };
    }

    /// <summary>What kind of training it is.</summary>
    public TrainingKind Kind { get; }

    /// <summary>The run's folder.</summary>
    public string Folder => options.Folder;

    /// <summary>Where the run saves its model.</summary>
    public string Model => this[RunFiles.Model];

    /// <summary>Does it resume what an earlier session began?</summary>
    public bool Resumes { get; }

    /// <summary>Are all of the run's steps done and everything saved?</summary>
    public bool IsFinished => RunFiles.IsFinished(Folder);

    /// <summary>Time that the run has taken, in this session and earlier ones.</summary>
    public TimeSpan Elapsed => before + clock.Elapsed;

    /// <summary>Path of a file of the run.</summary>
    /// <param name="name">Its name, as in <see cref="RunFiles"/>.</param>
    public string this[string name] => Path.Combine(Folder, name);

    /// <summary>Begins a run, or resumes one, and has its folder until it is disposed.</summary>
    /// <exception cref="ConfigurationException">The folder holds files and is not to be resumed, or holds a run of another kind or with other
    /// settings, or another process has it.</exception>
    /// <exception cref="IOException">The folder cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static TrainingSession Open(TrainingKind kind, SessionOptions options)
    {
        Directory.CreateDirectory(options.Folder);
        var guard = RunLock.Take(options.Folder);
        try
        {
            string config = Path.Combine(options.Folder, RunFiles.Config);
            var earlier = RunInfo.Load(options.Folder);
            bool exists = earlier is not null || File.Exists(config);
            if (RunFiles.IsTaken(options.Folder) && !(options.Resume && exists))
                throw new ConfigurationException([$"{options.Folder} already holds {(exists ? "a run; resume it, or" : "files;")} choose another folder."]);
            if (exists && (earlier?.Verb ?? RunFiles.VerbOf(options.Folder)) is { Length: > 0 } verb && verb != kind.Verb)
                throw new ConfigurationException([$"{options.Folder} is a run of {verb}, and cannot be resumed as {kind.Verb}."]);
            SessionSettings.Compare(config, options.Settings);
            AtomicFile.WriteAllText(config, SessionSettings.ToYaml(kind.Verb, options.Settings));
            return new(kind, options, exists, guard: guard);
        }
        catch
        {
            guard.Dispose();
            throw;
        }
    }

    /// <summary>Trains from the checkpoint that the run resumes from, if any. Stopped or failed, the run is saved as far as it came.</summary>
    /// <param name="trainer">What is trained, and saved.</param>
    /// <param name="saveModel">Writes the model in float32, and its tokenizer, into a folder.</param>
    /// <param name="steps">Steps of the whole run.</param>
    /// <param name="train">Trains with the sinks that it is given, and calls <see cref="AfterStep"/> after each step.</param>
    /// <param name="stop">What stops <paramref name="train"/>.</param>
    /// <exception cref="TrainingDivergedException">Its numbers became too bad to go on; the last good weights are saved.</exception>
    /// <exception cref="RewardException">The reward failed.</exception>
    /// <exception cref="ConfigurationException">Models or data are not those that the run began with.</exception>
    public T Train<T>(IResumable trainer, Action<string> saveModel, long steps, Func<IMetricSink, T> train, CancellationToken stop = default)
    {
        (this.trainer, this.saveModel) = (trainer, saveModel);
        long? resumedAfter = Restore();
        File.Delete(this[RunFiles.Finished]);
        using var sinks = new MetricTracker([new JsonlSink(Folder, resumedAfter), .. options.Sinks?.Invoke(resumedAfter) ?? []], events.SinkFailed);
        Note(() => Begin(steps, resumedAfter));
        T result;
        try
        {
            result = train(sinks);
            ModelCheck.RequireUsable(trainer);
            if (stop.IsCancellationRequested)
                Stopped();
        }
        catch (Exception e) when (e is TrainingDivergedException or RewardException)
        {
            Failed(e);
            End(RunState.Failed, options.Explain?.Invoke(e) ?? e.Message);
            throw;
        }
        sinks.Complete();
        return result;
    }

    /// <summary>The step after which <see cref="Train"/> resumes; 0 for a new run. Known once it has begun.</summary>
    public long ResumedAfter { get; private set; }

    /// <summary>Saves a checkpoint when it is time for one.</summary>
    /// <param name="isGood">False when something of the step was left out because its numbers were bad.</param>
    /// <param name="score">How good the step was, larger is better; null: not known.</param>
    /// <exception cref="TrainingDivergedException">It is time for one, and the step has damaged the model.</exception>
    public void AfterStep(bool isGood, double? score = null)
    {
        lastWasGood = isGood;
        if (isGood && score is { } known)
            scores.Add(known);
        bool isTime = options.SaveEvery is { } every ? every > 0 && trainer!.StepCount % every == 0 : clock.Elapsed - lastSave >= DefaultInterval;
        if (isTime)
            Save();
    }

    /// <summary>Notes that the session is over, once its model is saved.</summary>
    /// <param name="isFinished">Are all steps done and everything saved? Otherwise the run is stopped and can be resumed.</param>
    /// <param name="summary">What it came to, as an object for summary.json; null: that is written elsewhere.</param>
    /// <exception cref="IOException">The summary cannot be written.</exception>
    public void Finish(bool isFinished, object? summary = null)
    {
        if (summary is not null)
            AtomicFile.WriteAllText(this[RunFiles.Summary], JsonSerializer.Serialize(summary, summary.GetType(), SummaryOptions) + "\n");
        if (isFinished)
            AtomicFile.WriteAllText(this[RunFiles.Finished], "");
        End(isFinished ? RunState.Finished : RunState.Stopped);
    }

    /// <inheritdoc/>
    public void Dispose() => guard?.Dispose();

    private void Begin(long steps, long? resumedAfter)
    {
        var session = new RunSession(options.Command, DateTimeOffset.UtcNow, typeof(LibTorch).Assembly.GetName().Version?.ToString(3) ?? "", options.Device)
        {
            ResumedAfter = resumedAfter,
        };
        var earlier = Resumes ? RunInfo.Load(Folder)?.Sessions ?? [] : [];
        new RunInfo(Kind.Verb, steps, [.. earlier, session]) { TrainedWeights = TrainedWeights() }.Save(Folder);
    }

    private long TrainedWeights() => trainer!.Files.Where(f => f.Name != StateFile.Optimizer)
        .Sum(f => f.Tensors.Where(t => t.Value.requires_grad).Sum(t => t.Value.numel()));

    private void End(RunState state, string? message = null) => Note(() =>
    {
        if (RunInfo.Load(Folder) is { } info)
            (info with { State = state, Message = message }).Save(Folder);
    });

    /// <summary>Brings the trainer to the run's newest whole checkpoint.</summary>
    /// <returns>The last step that was reported before it: what was logged of later ones is void. Null for a new run.</returns>
    private long? Restore()
    {
        if (!Resumes)
            return null;
        var found = store.Restore(trainer!, events.Damaged, options.ResumeAtMost);
        if (found is not var (checkpoint, elapsed))
        {
            events.NothingToResume();
            return 0;
        }
        (before, savedStep, soundStep) = (elapsed, checkpoint.Step, checkpoint.Step);
        events.Resumed(checkpoint);
        return ResumedAfter = trainer!.ReportedSteps;
    }

    /// <summary>After a run that was stopped: saves where it is.</summary>
    private void Stopped()
    {
        if (options.SaveEvery != 0 && savedStep != trainer!.StepCount && trainer.StepCount > 0)
            Save();
        events.Stopped(savedStep is not null);
    }

    /// <summary>
    /// After a run that failed: saves the last whole step, or if the failing one had changed weights already, those alone. No checkpoint is
    /// removed: with steps left out before, an earlier one may be better.
    /// </summary>
    private void Failed(Exception error)
    {
        bool usable = error is not TrainingDivergedException { WeightsAreDamaged: true } && trainer!.IsUsable();
        if (usable && trainer!.IsBetweenSteps && options.SaveEvery != 0 && savedStep != trainer.StepCount && trainer.StepCount > 0)
            Save(afterFailure: true);
        if (usable)
            saveModel!(Model);
        // What damaged the weights was the last whole step: its checkpoint, if there is one, holds the damage.
        long lastGood = usable || !trainer!.IsBetweenSteps ? trainer!.StepCount : trainer.StepCount - 1;
        var all = store.List();
        var good = all.FirstOrDefault(c => c.Step <= lastGood);
        var earlier = error is not TrainingDivergedException || good is null ? null
            : all.FirstOrDefault(c => c.Step < good.Step && (lastWasGood || c.Step <= soundStep));
        events.Failed(new(error, usable, trainer.IsBetweenSteps, trainer.StepCount, good, good == all.FirstOrDefault(), earlier));
    }

    /// <param name="afterFailure">What a failed run leaves is never the best checkpoint, and takes no other's place.</param>
    private void Save(bool afterFailure = false)
    {
        lastSave = clock.Elapsed;
        try
        {
            double? score = scores.Count > 0 && !afterFailure ? scores.Average() : null;
            store.Save(trainer!, saveModel!, score, Elapsed, keepAll: true);
            savedStep = trainer!.StepCount;
            scores.Clear();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            events.NotSaved(trainer!.StepCount, e, savedStep);
            return;
        }
        if (lastWasGood)
            soundStep = savedStep;
        try
        {
            if (!afterFailure)
                store.Rotate(keep: soundStep);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            events.NotRemoved(trainer.StepCount, e);
        }
    }

    private void Note(Action write)
    {
        try
        {
            write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            events.NotNoted(e);
        }
    }
}
