using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Cli.Verbs;
using Rlhf.Hub;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;

namespace Rlhf.Cli.Flags;

/// <summary>What a verb has to do with the Hub. Its token comes from HF_TOKEN or the token file, never from a flag.</summary>
internal sealed record HubFlags
{
    [Description("Branch, tag or commit of --model on the Hub; other names take theirs as org/name@NAME.")]
    [ValueName("NAME")]
    [NotRecorded]
    public string? Revision { get; init; }

    [Description("Base of the adapter that --model names, where its adapter_config.json does not lead to it: a folder or a model of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? BaseModel { get; init; }

    [Description("Push the saved model to this repository of the Hub in the end; needs a token in HF_TOKEN.")]
    [ValueName("ORG/NAME")]
    [NotRecorded]
    public string? PushToHub { get; init; }

    [Description("Make that repository private when it is new.")]
    [NotRecorded]
    public bool Private { get; init; }

    public IEnumerable<string> Validate()
    {
        if (PushToHub is not null && !HubRepo.IsId(PushToHub))
            yield return $"PushToHub is {PushToHub}; it must be an id of the Hub such as org/name.";
        if (Private && PushToHub is null) yield return "Private belongs to PushToHub.";
    }

    /// <summary>Refuses, before training begins, a --push-to-hub that cannot succeed.</summary>
    /// <exception cref="HubException">There is no token that may write there, the repository is public and must not be, or the Hub
    /// cannot be reached.</exception>
    public static void CheckPush(VerbContext context)
    {
        var settings = context.Settings.Get<HubFlags>();
        if (settings.PushToHub is not { } id)
            return;
        using var hub = new HubClient();
        hub.CheckPushAsync(id, settings.Private, context.Stop).GetAwaiter().GetResult();
    }

    /// <summary>Pushes what a run saved, if it was asked to. Whatever happens, the folder stays.</summary>
    /// <returns>The run's exit code: an interrupted run is not pushed, and a push that fails is a failure.</returns>
    public static int Push(VerbContext context, string folder)
    {
        var settings = context.Settings.Get<HubFlags>();
        bool stopped = context.Stop.IsCancellationRequested;
        if (settings.PushToHub is not { } id)
            return stopped ? ExitCode.Interrupted : ExitCode.Success;
        string later = $"Push it with: rlhf hub push {ShellWord.Of(folder)} {id}{(settings.Private ? " --private" : "")}";
        if (stopped)
        {
            context.Screen.Line($"The run was stopped, so its model was not pushed. {Screen.Safe(later)}");
            return ExitCode.Interrupted;
        }
        try
        {
            using var hub = new HubClient();
            HubVerbs.Report(context.Screen, HubFiles.Fetch(context.Screen, $"Pushing {id}", progress => hub.PushFolderAsync(
                folder, id, new() { Private = settings.Private }, progress, context.Stop)));
            return ExitCode.Success;
        }
        catch (Exception e) when (e is HubException or OperationCanceledException)
        {
            string why = e is HubException ? e.Message : "The push was stopped.";
            Console.Error.WriteLine($"rlhf: the model is saved in {folder} and was not pushed. {why} {later}");
            return e is HubException ? ExitCode.Failure : ExitCode.Interrupted;
        }
    }
}
