using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Net;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Runtime;
using Rlhf.Studio;

namespace Rlhf.Cli.Verbs;

/// <summary>What the studio shows, and to whom.</summary>
internal sealed record StudioFlags
{
    [Description("Folder of the runs; runs in its subfolders are shown, too.")]
    [ValueName("DIR")]
    public string Runs { get; init; } = "runs";

    [Description("Address to listen on; default: this machine only. Any other needs --token.")]
    [ValueName("ADDRESS")]
    public string? Host { get; init; }

    [Description("Port to listen on; 0 takes a free one.")]
    [ValueName("N")]
    public int Port { get; init; } = 5080;

    [Description("Secret of at least 12 characters that every visitor needs; default: the variable RLHF_STUDIO_TOKEN, or none.")]
    [ValueName("TEXT")]
    public string? Token { get; init; }

    [Description("Aligned model of the playground; default: the newest run's.")]
    [ValueName("DIR|ORG/NAME")]
    public string? Model { get; init; }

    [Description("Model that it is compared with; default: what its run began with, or the one that ships.")]
    [ValueName("DIR|ORG/NAME")]
    public string? BaseModel { get; init; }

    [Description("Reward model that scores the answers; default: the one that ships.")]
    [ValueName("DIR|ORG/NAME")]
    public string? RewardModel { get; init; }

    [Description("A second scorer that training never saw; default: the one that ships, beside the shipped reward model.")]
    [ValueName("DIR|ORG/NAME")]
    public string? Judge { get; init; }

    [Description("Chat template of models that have none of their own: a file with Jinja, or chatml, the built-in one.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Pairs to label, such as rlhf pairs sample wrote; those in the runs folder are found as well.")]
    [ValueName("FILE")]
    public string? Pairs { get; init; }

    [Description("File for the labels of --pairs, JSON lines; default: NAME-labelled.jsonl beside them. Existing labels are kept and continued.")]
    [ValueName("FILE")]
    public string? Labels { get; init; }

    [Description("Labeling shows about one in N pairs a second time, with the answers swapped, to see whether the choice is the "
        + "same; 0: none.")]
    [ValueName("N")]
    public int RepeatEvery { get; init; } = 12;

    [Description("Open it in the browser.")]
    public bool Open { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Listening.Problem(Host) is { } wrong)
            yield return wrong;
        else
            foreach (var problem in ToOptions().Validate())
                yield return problem;
    }

    /// <summary>What of these settings needs no models.</summary>
    public StudioOptions ToOptions() => new()
    {
        RunsFolder = Runs,
        Address = Address!,
        Port = Port,
        Token = Secret,
        Pairs = Pairs,
        Labels = Labels,
        RepeatEvery = RepeatEvery,
        ChatTemplate = ChatTemplate,
    };

    /// <summary>Where to listen, or null for what is no address.</summary>
    public IPAddress? Address => Listening.Address(Host);

    /// <summary>The token, which a command line would show to everybody on the machine.</summary>
    public string? Secret =>
        Token ?? (Environment.GetEnvironmentVariable(StudioOptions.TokenVariable) is { Length: > 0 } token ? token : null);
}

/// <summary><c>rlhf studio</c>: runs and models in the browser.</summary>
internal static class StudioVerb
{
    public static Command Create() => new VerbCommand(
        "studio", "shows runs while they train, and lets you try models and label pairs, in the browser.",
        [
            "rlhf studio --open",
            "rlhf studio --runs experiments --port 8080",
            "rlhf studio --pairs pairs.jsonl --labels labelled.jsonl",
            "rlhf studio --host 0.0.0.0 --token correct-horse-battery",
        ],
        new SettingsBinder()
            .Add("Studio", new StudioFlags(), o => o.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private), nameof(HubFlags.BaseModel),
                nameof(HubFlags.Revision))
            .Add("Compute", new ComputeFlags(), o => o.Validate()),
        Run);

    private static int Run(VerbContext context)
    {
        var settings = context.Settings.Get<StudioFlags>();
        var compute = context.Settings.Get<ComputeFlags>();
        string? Resolve(string flag, string? path, string? otherwise) =>
            path is null ? otherwise : ModelFolders.Resolve(context, flag, path);
        var options = settings.ToOptions() with
        {
            Model = Resolve("--model", settings.Model, null),
            BaseModel = Resolve("--base-model", settings.BaseModel, null),
            ShippedModel = ModelFolders.Shipped(ModelFolders.ShippedPolicy),
            RewardModel = Resolve("--reward-model", settings.RewardModel, ModelFolders.Shipped(ModelFolders.ShippedReward)),
            Judge = Resolve("--judge", settings.Judge,
                settings.RewardModel is not { } reward || ModelFolders.IsShipped(reward, ModelFolders.ShippedReward)
                    ? ModelFolders.Shipped(ModelFolders.ShippedJudge) : null),
            Queries = ModelFolders.Shipped(ModelFolders.ShippedQueries),
            Command = OwnCommand(),
            MakeReport = folder => RunPage.Make(folder).Page,
            StartDevice = compute.Start,
        };
        return Serve(context, options, settings.Open).GetAwaiter().GetResult();
    }

    private static async Task<int> Serve(VerbContext context, StudioOptions options, bool opens)
    {
        await using var app = StudioHost.Build(options);
        await Listening.StartAsync(() => app.StartAsync(context.Stop), options.Address, options.Port);
        var address = StudioHost.AddressOf(app);
        if (context.Screen.Json)
            context.Screen.WriteJson(new
            {
                Url = address.AbsoluteUri,
                Runs = Path.GetFullPath(options.RunsFolder),
                Token = options.Token is not null,
            });
        else
        {
            string missing = Directory.Exists(options.RunsFolder) ? "" : " (does not exist yet)";
            context.Screen.Line($"The studio is at [bold]{Screen.Safe(address.AbsoluteUri)}[/] and shows the runs in "
                + $"{Screen.Safe(options.RunsFolder)}{missing}.{(options.Token is null ? "" : " It asks for the token.")} Ctrl-C ends it; "
                + "trainings that it started continue.");
        }
        if (opens)
            OpenBrowser(address);
        try
        {
            await Task.Delay(Timeout.Infinite, context.Stop);
        }
        catch (OperationCanceledException)
        {
            await app.StopAsync(new CancellationTokenSource(TimeSpan.FromSeconds(3)).Token);
        }
        return ExitCode.Success;
    }

    /// <summary>How this program is started: by itself, or by dotnet.</summary>
    private static string[] OwnCommand()
    {
        string assembly = Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll");
        return Environment.ProcessPath is not { } program ? []
            : Path.GetFileNameWithoutExtension(program).Equals("dotnet", StringComparison.OrdinalIgnoreCase) ? [program, assembly]
            : [program];
    }

    private static void OpenBrowser(Uri address)
    {
        try
        {
            string opener = OperatingSystem.IsWindows() ? "explorer" : OperatingSystem.IsMacOS() ? "open" : "xdg-open";
            Process.Start(new ProcessStartInfo(opener, [address.AbsoluteUri])
            {
                RedirectStandardError = true,
                RedirectStandardOutput = true,
            })?.Dispose();
        }
        catch (Win32Exception)
        {
            // The address stands on the screen.
        }
    }
}
