using Rlhf.Cli.Terminal;
using Rlhf.Runs;
using Rlhf.Runtime.Text;
using Rlhf.Tracking;
using Rlhf.Training;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Cli.Runs;

/// <summary>What happens to a run in words on the terminal, with the commands that resume it.</summary>
/// <param name="context">What the verb runs with.</param>
/// <param name="folder">The run's folder.</param>
/// <param name="source">The model that training began with.</param>
internal sealed class ShownEvents(VerbContext context, RunFolder folder, string source) : SessionEvents
{
    private string Resume(string path) => $"rlhf {context.Kind.Verb} --resume {ShellWord.Of(path)}";

    public override void Damaged(string checkpoint, string why) =>
        Console.Error.WriteLine($"rlhf: checkpoint {checkpoint} is damaged and was set aside: {Screen.Clean(why)}");

    public override void Resumed(Checkpoint checkpoint) =>
        context.Screen.Line($"Resuming after step {checkpoint.Step:N0}, from {Screen.Safe(checkpoint.Folder)}.\n");

    public override void NothingToResume() =>
        context.Screen.Line($"{Screen.Safe(folder.Path)} holds no checkpoint that can be used: the run begins again at step 1.\n");

    public override void Stopped(bool canResume)
    {
        if (canResume)
            context.Screen.Line($"Resume later with: {Screen.Safe(Resume(folder.Path))}");
    }

    public override void Failed(SessionFailure failure)
    {
        Console.Error.WriteLine(failure.Usable
            ? $"rlhf: the weights after the last good update are in {folder.Model}; the run began with {source}."
            : $"rlhf: the weights are not usable any more and were not saved; the run began with {source}.");
        if (failure.Usable && !failure.IsBetweenSteps)
            Console.Error.WriteLine($"rlhf: step {failure.StepCount + 1:N0} had changed weights before it failed; a run resumes from whole "
                + "steps, so that there is no checkpoint of it.");
        if (failure.Good is not { } good)
            return;
        Console.Error.WriteLine($"rlhf: the last good checkpoint, of step {good.Step:N0}, is {good.Folder}. Resume from there, with "
            + $"another setting, by: {Resume(failure.IsNewest ? folder.Path : good.Folder)}");
        if (failure.Earlier is { } earlier)
            Console.Error.WriteLine($"rlhf: should it stop again at once, resume from an earlier one: --resume {ShellWord.Of(earlier.Folder)}");
    }

    public override void NotSaved(long step, Exception error, long? saved) =>
        Console.Error.WriteLine($"rlhf: step {step:N0} could not be saved in {folder.Checkpoints}: {error.Message} "
            + (saved is { } known ? $"The checkpoint of step {known:N0} is whole; the run continues." : "The run continues."));

    public override void NotRemoved(long step, Exception error) =>
        Console.Error.WriteLine($"rlhf: step {step:N0} is saved, but {error.Message}");

    public override void NotNoted(Exception error) =>
        context.Screen.Line($"[yellow]{Screen.Safe($"The report of {folder.Path} could not be written: {error.Message}")}[/]");

    public override void SinkFailed(SinkFailure failure) => context.Screen.Line($"[yellow]{Screen.Safe(failure.ToString())}[/]");
}
