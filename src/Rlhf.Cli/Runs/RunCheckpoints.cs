using System.Diagnostics;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Terminal;
using Rlhf.Runs;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime.Text;
using Rlhf.Tracking;
using Rlhf.Training;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Cli.Runs;

/// <summary>When a run is saved, and what is said about it. A checkpoint that cannot be written never ends the run.</summary>
internal sealed class RunCheckpoints
{
    private static readonly TimeSpan Unset = TimeSpan.FromMinutes(10);
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly VerbContext context;
    private readonly RunFolder folder;
    private readonly string verb;
    private readonly IResumable trainer;
    private readonly Action<string> saveModel;
    private readonly CheckpointStore store;
    private readonly int? saveEvery;
    private readonly List<double> scores = [];
    private TimeSpan before, lastSave;
    private long? savedStep, soundStep;
    private bool lastWasGood = true;

    /// <param name="context">What the verb runs with.</param>
    /// <param name="verb">Its name.</param>
    /// <param name="folder">The run's folder.</param>
    /// <param name="trainer">What is saved.</param>
    /// <param name="saveModel">Writes the model in float32, and its tokenizer, into a folder.</param>
    /// <param name="inputs">Fingerprints of models and data, by flag.</param>
    public RunCheckpoints(VerbContext context, string verb, RunFolder folder, IResumable trainer, Action<string> saveModel,
        IReadOnlyDictionary<string, string> inputs)
    {
        (this.context, this.verb, this.folder, this.trainer, this.saveModel) = (context, verb, folder, trainer, saveModel);
        var options = context.Settings.Get<CheckpointFlags>();
        saveEvery = options.SaveEvery;
        store = new(folder.Checkpoints) { KeepLast = options.KeepLast, Inputs = inputs };
    }

    /// <summary>Time that the run has taken, in this process and before.</summary>
    public TimeSpan Elapsed => before + clock.Elapsed;

    /// <summary>
    /// Trains: from the checkpoint that the run goes on from, if any, with its sinks open and its progress shown. Stopped or
    /// failed, the run is saved as far as it came.
    /// </summary>
    /// <param name="title">What is being done, in a word.</param>
    /// <param name="steps">Steps of the whole run.</param>
    /// <param name="source">The model that training began with.</param>
    /// <param name="train">Trains, and calls <see cref="AfterStep"/> after each step.</param>
    public T Train<T>(string title, long steps, string source, Func<ProgressDisplay, IMetricSink, T> train)
    {
        long? resumedAfter = Restore();
        using var sinks = context.Settings.Get<TrackingFlags>().Open(context, folder, resumedAfter);
        RunPage.Begin(context, folder, verb, steps, resumedAfter);
        T result;
        try
        {
            result = ProgressDisplay.Run(context.Screen, title, "step", steps, display => train(display, sinks), resumedAfter ?? 0);
            ModelCheck.RequireUsable(trainer);
            if (context.Stop.IsCancellationRequested)
                Stopped();
        }
        catch (Exception e) when (e is TrainingDivergedException or RewardException)
        {
            Failed(source, e);
            RunPage.End(context, folder, RunState.Failed, context.Settings.NameFlags(e.Message));
            throw;
        }
        sinks.Complete();
        return result;
    }

    /// <summary>Saves a checkpoint when it is time for one.</summary>
    /// <param name="isGood">False when something of the step was left out because its numbers were bad.</param>
    /// <param name="score">How good the step was, larger is better; null: not known.</param>
    /// <exception cref="TrainingDivergedException">It is time for one, and the step has damaged the model.</exception>
    public void AfterStep(bool isGood, double? score = null)
    {
        lastWasGood = isGood;
        if (isGood && score is { } known)
            scores.Add(known);
        bool isTime = saveEvery is { } every ? every > 0 && trainer.StepCount % every == 0 : clock.Elapsed - lastSave >= Unset;
        if (isTime)
            Save();
    }

    /// <summary>Where a run goes on, brings the trainer to its newest whole checkpoint.</summary>
    /// <returns>The last step that was reported before it: what was logged of later ones is void. Null for a new run.</returns>
    private long? Restore()
    {
        if (!folder.Resumes)
            return null;
        var found = store.Restore(trainer, (path, why) => Console.Error.WriteLine(
            $"rlhf: checkpoint {path} is damaged and was set aside: {Screen.Clean(why)}"), folder.ResumeAtMost);
        if (found is var (checkpoint, elapsed))
        {
            (before, savedStep, soundStep) = (elapsed, checkpoint.Step, checkpoint.Step);
            context.Screen.Line($"Going on after step {checkpoint.Step:N0}, from {Screen.Safe(checkpoint.Folder)}.\n");
            return trainer.ReportedSteps;
        }
        context.Screen.Line($"{Screen.Safe(folder.Path)} holds no checkpoint that can be used: the run begins again at step 1.\n");
        return 0;
    }

    /// <summary>After a run that was stopped: saves where it is, and says how it goes on.</summary>
    private void Stopped()
    {
        if (saveEvery != 0 && savedStep != trainer.StepCount && trainer.StepCount > 0)
            Save();
        if (savedStep is not null)
            context.Screen.Line($"Go on later with: rlhf {verb} --resume {Screen.Safe(ShellWord.Of(folder.Path))}");
    }

    /// <summary>
    /// After a run that failed: saves the last whole step, or if the failing one had changed weights already, those alone; and names the
    /// last good checkpoint. None is removed: with steps left out before, an earlier one may be better.
    /// </summary>
    /// <param name="source">The model that training began with.</param>
    /// <param name="error">Why it failed.</param>
    private void Failed(string source, Exception error)
    {
        bool usable = error is not TrainingDivergedException { WeightsAreDamaged: true } && trainer.IsUsable();
        if (usable && trainer.IsBetweenSteps && saveEvery != 0 && savedStep != trainer.StepCount && trainer.StepCount > 0)
            Save(afterFailure: true);
        if (usable)
            saveModel(folder.Model);
        Console.Error.WriteLine(usable
            ? $"rlhf: the weights after the last good update are in {folder.Model}; the run began with {source}."
            : $"rlhf: the weights are not usable any more and were not saved; the run began with {source}.");
        if (usable && !trainer.IsBetweenSteps)
            Console.Error.WriteLine($"rlhf: step {trainer.StepCount + 1:N0} had changed weights before it failed; a run goes on from whole "
                + "steps, so that there is no checkpoint of it.");
        // What damaged the weights was the last whole step: its checkpoint, if there is one, holds the damage.
        long lastGood = usable || !trainer.IsBetweenSteps ? trainer.StepCount : trainer.StepCount - 1;
        var checkpoints = store.List();
        if (checkpoints.FirstOrDefault(c => c.Step <= lastGood) is not { } good)
            return;
        string resume = good == checkpoints[0] ? folder.Path : good.Folder;
        Console.Error.WriteLine($"rlhf: the last good checkpoint, of step {good.Step:N0}, is {good.Folder}. Go on from there, with "
            + $"another setting, by: rlhf {verb} --resume {ShellWord.Of(resume)}");
        if (error is TrainingDivergedException
            && checkpoints.FirstOrDefault(c => c.Step < good.Step && (lastWasGood || c.Step <= soundStep)) is { } earlier)
            Console.Error.WriteLine($"rlhf: should it stop again at once, go on from an earlier one: --resume "
                + ShellWord.Of(earlier.Folder));
    }

    /// <param name="afterFailure">What a failed run leaves is never the best checkpoint, and takes no other's place.</param>
    private void Save(bool afterFailure = false)
    {
        lastSave = clock.Elapsed;
        try
        {
            double? score = scores.Count > 0 && !afterFailure ? scores.Average() : null;
            store.Save(trainer, saveModel, score, Elapsed, keepAll: true);
            savedStep = trainer.StepCount;
            scores.Clear();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"rlhf: step {trainer.StepCount:N0} could not be saved in {folder.Checkpoints}: {e.Message} "
                + (savedStep is { } step ? $"The checkpoint of step {step:N0} is whole; the run goes on." : "The run goes on."));
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
            Console.Error.WriteLine($"rlhf: step {trainer.StepCount:N0} is saved, but {e.Message}");
        }
    }
}
