using System.CommandLine;
using System.ComponentModel;
using System.Net;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Generation;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Serving;

namespace Rlhf.Cli.Verbs;

/// <summary>Which models are served, and to whom.</summary>
internal sealed record ServeFlags
{
    /// <summary>The environment variable that may hold the API key.</summary>
    public const string KeyVariable = "RLHF_API_KEY";

    [Description("Model to serve; default: the small review model that ships. Given several times, several are served, and the first answers where a "
        + "request names none.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput(IsRepeated = true)]
    [Repeated]
    public string? Model { get; init; }

    [Description("What the model is called in the API, once for each --model; default: as its folder, or the run that it is of.")]
    [ValueName("NAME")]
    [Repeated]
    public string? Name { get; init; }

    [Description("Chat template of models that have none of their own: a file with Jinja, or chatml, the built-in one.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Address to listen on; default: this machine only. Any other needs --api-key.")]
    [ValueName("ADDRESS")]
    public string? Host { get; init; }

    [Description("Port to listen on; 0 takes a free one.")]
    [ValueName("N")]
    public int Port { get; init; } = 8000;

    [Description("Secret of at least 12 characters that every request needs; given several times, each is one. Default: the variable RLHF_API_KEY, where "
        + "commas stand between several, or none.")]
    [ValueName("TEXT")]
    [Repeated]
    [NotRecorded]
    public string? ApiKey { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Listening.Problem(Host) is { } problem)
            yield return problem;
        if (Name is not null && Names.Length != Math.Max(1, Models.Length))
            yield return $"There are {Names.Length} names (--name) for {Math.Max(1, Models.Length)} models; give each model one.";
    }

    /// <summary>What <see cref="Model"/> names.</summary>
    public string[] Models => RepeatedAttribute.Split(Model);

    /// <summary>What <see cref="Name"/> says.</summary>
    public string[] Names => RepeatedAttribute.Split(Name);

    /// <summary>Where to listen, or null for what is no address.</summary>
    public IPAddress? Address => Listening.Address(Host);

    /// <summary>The keys; a command line would show them to everybody on the machine, a variable does not.</summary>
    public string[] Keys => ApiKey is not null ? RepeatedAttribute.Split(ApiKey)
        : Environment.GetEnvironmentVariable(KeyVariable)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];
}

/// <summary>What requests may ask for, and how many are answered at once.</summary>
internal sealed record ServeLimitFlags
{
    [Description("Texts that are written at once.")]
    [ValueName("N")]
    public int MaxTexts { get; init; } = 32;

    [Description("Texts that may wait; more are refused with status 429.")]
    [ValueName("N")]
    public int MaxWaiting { get; init; } = 256;

    [Description("MiB that keys and values of all texts may take: as many are written at once as fit with all their tokens.")]
    [ValueName("N")]
    public int CacheMemory { get; init; } = 2048;

    [Description("Most tokens of a prompt; default: as many as the model reads.")]
    [ValueName("N")]
    public int? MaxPromptTokens { get; init; }

    [Description("Most tokens of an answer; default: as many as the model has room for.")]
    [ValueName("N")]
    public int? MaxNewTokens { get; init; }

    [Description("KiB that the body of a request may have.")]
    [ValueName("N")]
    public int MaxBody { get; init; } = 1024;

    [Description("Seconds that answers have to be finished in once Ctrl-C or SIGTERM ends the server.")]
    [ValueName("N")]
    public int StopSeconds { get; init; } = 30;

    public IEnumerable<string> Validate()
    {
        if (MaxTexts < 1) yield return $"MaxTexts is {MaxTexts}; it must be at least 1.";
        if (MaxWaiting < 0) yield return $"MaxWaiting is {MaxWaiting}; it must be 0 (nobody waits) or more.";
        if (CacheMemory < 1) yield return $"CacheMemory is {CacheMemory}; it must be at least 1 MiB.";
        if (MaxPromptTokens is < 1) yield return $"MaxPromptTokens is {MaxPromptTokens}; it must be at least 1.";
        if (MaxNewTokens is < 1) yield return $"MaxNewTokens is {MaxNewTokens}; it must be at least 1.";
        if (MaxBody < 1) yield return $"MaxBody is {MaxBody}; it must be at least 1 KiB.";
        if (StopSeconds is < 0 or > 3600) yield return $"StopSeconds is {StopSeconds}; it must be from 0 to 3600.";
    }

    /// <summary>How many texts are written at once.</summary>
    public BatchingOptions Batching => new() { MaxRows = MaxTexts, MaxWaiting = MaxWaiting, CacheBytes = (long)CacheMemory << 20 };
}

/// <summary><c>rlhf serve</c>: models behind OpenAI's API, without the studio.</summary>
internal static class ServeVerb
{
    public static Command Create() => new VerbCommand(
        "serve", "serves models to programs in the form of OpenAI's API, many requests at once.",
        [
            "rlhf serve",
            "rlhf serve --model runs/my-chat --port 8080",
            "rlhf serve --model runs/my-sft --model runs/my-ppo --max-texts 64",
            "RLHF_API_KEY=correct-horse-battery rlhf serve --host 0.0.0.0",
        ],
        new SettingsBinder()
            .Add("Serving", new ServeFlags(), o => o.Validate())
            .Add("Limits", new ServeLimitFlags(), o => o.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private), nameof(HubFlags.BaseModel),
                nameof(HubFlags.Revision))
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(settings => Options(settings.Get<ServeFlags>(), settings.Get<ServeLimitFlags>())?.Validate() ?? []),
        Run);

    private static ServingOptions? Options(ServeFlags flags, ServeLimitFlags limits) => flags.Address is not { } address ? null : new()
    {
        Address = address,
        Port = flags.Port,
        ApiKeys = flags.Keys,
        MaxBodyBytes = (long)limits.MaxBody << 10,
        Limits = new() { MaxPromptTokens = limits.MaxPromptTokens, MaxNewTokens = limits.MaxNewTokens },
    };

    private static int Run(VerbContext context)
    {
        var flags = context.Settings.Get<ServeFlags>();
        var limits = context.Settings.Get<ServeLimitFlags>();
        string[] given = flags.Models;
        string[] folders = given.Length > 0 ? [.. given.Select(path => ModelFolders.Resolve(context, "--model", path))]
            : [ModelFolders.ResolveOrShipped(context, "--model", null, ModelFolders.ShippedPolicy)];
        string[] names = flags.Name is null ? [.. folders.Zip(given.Length > 0 ? given : folders, NameOf)] : flags.Names;
        if (names.GroupBy(n => n).FirstOrDefault(g => g.Count() > 1) is { } twins)
            throw new ConfigurationException([$"Several models are called {twins.Key}; give each a name of its own with --name."]);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Serving {string.Join(", ", names)}", folders);
        var (models, metrics) = (new LoadedModels(), new ServingMetrics());
        foreach (var (folder, name) in folders.Zip(names))
            models.Add(name, TextCompleter.Load(folder, device, limits.Batching, metrics.Of(name)), ChatTemplateOf(flags.ChatTemplate, folder));
        return ServeAsync(context, Options(flags, limits)!, models, metrics, TimeSpan.FromSeconds(limits.StopSeconds)).GetAwaiter().GetResult();
    }

    private static async Task<int> ServeAsync(
        VerbContext context, ServingOptions options, LoadedModels models, ServingMetrics metrics, TimeSpan stopLimit)
    {
        await using var host = new ServingHost(options, models, metrics);
        await Listening.StartAsync(() => host.StartAsync(context.Stop), options.Address, options.Port);
        if (context.Screen.Json)
            context.Screen.WriteJson(new { Url = host.Address.AbsoluteUri, Models = models.Names(), ApiKey = options.ApiKeys.Count > 0 });
        else
            context.Screen.Line($"Serving {Screen.Safe(string.Join(", ", models.Names()))} at [bold]{Screen.Safe(host.Address.AbsoluteUri)}v1[/]."
                + $"{(options.ApiKeys.Count > 0 ? " Every request needs the API key." : "")} Ctrl-C ends it.");
        try
        {
            await Task.Delay(Timeout.Infinite, context.Stop);
        }
        catch (OperationCanceledException)
        {
            await host.StopAsync(stopLimit);
        }
        return ExitCode.Success;
    }

    /// <summary>The model's own template, or the one for models without.</summary>
    private static Tokenizers.Chat.ChatTemplate? ChatTemplateOf(string? otherwise, string folder) =>
        ChatTemplates.TryOf(null, folder) ?? (otherwise is null ? null : ChatTemplates.Of(otherwise, folder));

    /// <summary>What a model is called: its id on the Hub, or its folder, of a run the run's.</summary>
    private static string NameOf(string folder, string given)
    {
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (!Path.Exists(given) && !Path.GetFileName(path).Equals(given, StringComparison.Ordinal))
            return given.Split('@')[0];
        return Path.GetFileName(path) == RunFiles.Model ? Path.GetFileName(Path.GetDirectoryName(path)!) : Path.GetFileName(path);
    }
}
