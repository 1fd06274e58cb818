using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Terminal;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Tracking;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;

namespace Rlhf.Cli.Runs;

/// <summary>A verb's <see cref="TrainingSession"/>: its flags, its progress on the screen, and the report of how it ended.</summary>
internal sealed class CommandSession
{
    private readonly VerbContext context;
    private readonly RunFolder folder;
    private readonly string source;
    private readonly IResumable trainer;
    private readonly Action<string> saveModel;
    private readonly TrainingSession session;

    /// <param name="context">What the verb runs with.</param>
    /// <param name="folder">The run's folder.</param>
    /// <param name="source">The model that training began with.</param>
    /// <param name="trainer">What is saved.</param>
    /// <param name="saveModel">Writes the model in float32, and its tokenizer, into a folder.</param>
    /// <param name="inputs">Fingerprints of models and data, by flag.</param>
    public CommandSession(VerbContext context, RunFolder folder, string source, IResumable trainer, Action<string> saveModel,
        IReadOnlyDictionary<string, string> inputs)
    {
        (this.context, this.folder, this.source, this.trainer, this.saveModel) = (context, folder, source, trainer, saveModel);
        var flags = context.Settings.Get<CheckpointFlags>();
        session = new(context.Kind, new(folder.Path)
        {
            ResumeAtMost = folder.ResumeAtMost,
            SaveEvery = flags.SaveEvery,
            KeepLast = flags.KeepLast,
            Inputs = inputs,
            Command = context.CommandLine,
            Device = LanguageModels.DeviceName(Devices.Resolve(context.Settings.Get<ComputeFlags>().Device)),
            Sinks = resumedAfter => context.Settings.Get<TrackingFlags>().Open(context, folder, resumedAfter),
            Explain = e => context.Settings.NameFlags(e.Message),
        }, folder.Resumes, new ShownEvents(context, folder, source));
    }

    /// <summary>Time that the run has taken, in this process and before.</summary>
    public TimeSpan Elapsed => session.Elapsed;

    /// <summary>Trains with progress on the screen; a run that fails has its report, too.</summary>
    /// <param name="title">What is being done, in a word.</param>
    /// <param name="steps">Steps of the whole run.</param>
    /// <param name="train">Trains, and calls <see cref="AfterStep"/> after each step.</param>
    public T Train<T>(string title, long steps, Func<ProgressDisplay, IMetricSink, T> train)
    {
        try
        {
            return session.Train(trainer, saveModel, steps, sinks => ProgressDisplay.Run(
                context.Screen, title, "step", steps, display => train(display, sinks), session.ResumedAfter), context.Stop);
        }
        finally
        {
            if (RunInfo.Load(folder.Path)?.State == RunState.Failed)
                RunPage.WriteAtEnd(context, folder);
        }
    }

    /// <summary>Trains on examples: each step is logged, shown with its loss, and saved where that is due.</summary>
    /// <param name="title">What is being done, in a word.</param>
    /// <param name="steps">Steps of the whole run.</param>
    /// <param name="train">Trains, and calls what it is given after each step.</param>
    /// <param name="shown">What else to show of a step.</param>
    /// <param name="heldOut">What to show of the newest evaluation.</param>
    /// <param name="derived">Metrics of an evaluation beside the trainer's own; null: none.</param>
    public TrainProgress TrainOnExamples(
        string title, long steps, Func<Action<TrainProgress>, TrainProgress> train, Func<TrainProgress, IEnumerable<(string Name, string Value)>> shown,
        Func<TrainEvaluation, (string Name, string Value)> heldOut, Func<TrainEvaluation, IEnumerable<KeyValuePair<string, double>>>? derived = null)
    {
        TrainEvaluation? newest = null;
        return Train(title, steps, (display, sinks) => train(state =>
        {
            newest = state.Evaluation ?? newest;
            TrainingReport.Log(context, sinks, state.Step, state.Warning);
            var further = state.Evaluation is { } evaluation ? derived?.Invoke(evaluation) : null;
            sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, new Dictionary<string, double>([.. state.Scalars(), .. further ?? []])));
            display.Report(state.Step, [("loss", ProgressDisplay.Number(state.Loss, 3)), .. shown(state),
                ("tokens/s", ProgressDisplay.Number(state.TokensPerSecond, 0)), .. newest is null ? Array.Empty<(string, string)>() : [heldOut(newest)]]);
            TrainingReport.Warn(context, state.Warning);
            AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
        }));
    }

    /// <inheritdoc cref="TrainingSession.AfterStep"/>
    public void AfterStep(bool isGood, double? score = null) => session.AfterStep(isGood, score);

    /// <summary>Notes how the run ended, and writes its report.</summary>
    public void Finish(bool isFinished)
    {
        session.Finish(isFinished);
        RunPage.WriteAtEnd(context, folder);
    }
}
