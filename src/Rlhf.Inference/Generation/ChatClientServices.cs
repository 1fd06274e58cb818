using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Rlhf.Hub;
using Rlhf.Tokenizers.Chat;
using TorchSharp;

namespace Rlhf.Generation;

/// <summary>How <see cref="ChatClientServices"/> loads a model and answers with it.</summary>
public sealed class RlhfChatClientOptions
{
    /// <summary>Name of the model, for the answers; null: its folder's, or its id on the Hub.</summary>
    public string? ModelId { get; set; }

    /// <summary>Branch, tag or commit on the Hub; null: the newest commit. A folder has none.</summary>
    public string? Revision { get; set; }

    /// <summary>
    /// A file with a chat template, or <c>chatml</c>, the built-in one, in place of the model's own; null: the model's own. A model with neither
    /// continues the text of the messages.
    /// </summary>
    public string? ChatTemplate { get; set; }

    /// <summary>What becomes of a conversation that does not fit the model. Default: it is refused.</summary>
    public LongHistory LongHistory { get; set; }

    /// <summary>Where to compute; null: the CPU.</summary>
    public torch.Device? Device { get; set; }

    /// <summary>How many answers are written at once.</summary>
    public BatchingOptions Batching { get; set; } = new();
}

/// <summary>A language model as the <see cref="IChatClient"/> of a program with dependency injection, such as one of ASP.NET Core.</summary>
public static class ChatClientServices
{
    /// <summary>
    /// Adds a model as the program's <see cref="IChatClient"/>, one for all who ask for it: their answers are written in one batch. It is loaded, and
    /// downloaded where need be, when the client is first asked for, and freed with the services.
    /// </summary>
    /// <param name="services">The program's services.</param>
    /// <param name="model">A model folder, or a model of the Hub: org/name.</param>
    /// <param name="configure">Sets options; null: the defaults.</param>
    /// <returns>The services.</returns>
    /// <remarks>
    /// What is wrong with the model is thrown when the client is first asked for: <see cref="HubException"/>, <see cref="IOException"/>,
    /// <see cref="InvalidDataException"/>, <see cref="ChatTemplateException"/> or <see cref="Runtime.ConfigurationException"/>. To know it when the
    /// program starts, ask for the client there.
    /// </remarks>
    public static IServiceCollection AddRlhfChatClient(
        this IServiceCollection services, string model, Action<RlhfChatClientOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        services.TryAddSingleton<IChatClient>(_ => Create(model, configure));
        return services;
    }

    /// <summary>As <see cref="AddRlhfChatClient"/>, for one of several clients, which is asked for by a key.</summary>
    /// <param name="services">The program's services.</param>
    /// <param name="key">The key.</param>
    /// <param name="model">A model folder, or a model of the Hub: org/name.</param>
    /// <param name="configure">Sets options; null: the defaults.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddKeyedRlhfChatClient(
        this IServiceCollection services, object? key, string model, Action<RlhfChatClientOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        services.TryAddKeyedSingleton<IChatClient>(key, (_, _) => Create(model, configure));
        return services;
    }

    private static LanguageModelChatClient Create(string model, Action<RlhfChatClientOptions>? configure)
    {
        var options = new RlhfChatClientOptions();
        configure?.Invoke(options);
        bool isFolder = Directory.Exists(model);
        string folder = isFolder ? model : Download(model, options.Revision);
        string name = options.ModelId ?? (isFolder ? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))) : model);
        var template = options.ChatTemplate is { } named ? ChatTemplate.FromFile(named, folder) : ChatTemplate.TryFromFolder(folder);
        var completer = TextCompleter.FromPretrained(folder, options.Device, options.Batching);
        return template is null ? new(completer, name) : new(new ChatCompleter(completer, template) { LongHistory = options.LongHistory }, name);
    }

    private static string Download(string model, string? revision)
    {
        if (!HubRepo.IsId(model))
            throw new DirectoryNotFoundException($"{model} is neither a folder nor the id of a model of the Hub, such as org/name.");
        using var hub = new HubClient();
        return hub.DownloadModelAsync(model, revision).GetAwaiter().GetResult().Folder;
    }
}
