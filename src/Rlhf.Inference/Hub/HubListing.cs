using System.Text.Json;
using System.Text.RegularExpressions;

namespace Rlhf.Hub;

/// <summary>What a revision of a repository holds.</summary>
/// <param name="Commit">The commit that the revision stands at.</param>
/// <param name="Files">Its files and their sizes in bytes.</param>
internal sealed record HubListing(string Commit, IReadOnlyDictionary<string, long> Files);

/// <summary>Asks for revisions and their files.</summary>
internal sealed partial class HubLister(HubHttp http, HubOptions options)
{
    private const int MostFiles = 200_000, MostPages = 1000;

    /// <summary>The commit that a branch or tag stands at.</summary>
    /// <param name="repo">The repository.</param>
    /// <param name="revision">The branch, tag or commit.</param>
    /// <param name="patient">Ask again when there is no answer; false when the cache can stand in.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="HubException">It cannot be found.</exception>
    public async Task<string> CommitAsync(HubRepo repo, string revision, bool patient, CancellationToken cancellation)
    {
        var call = Call(repo, revision, $"api/{repo.ApiPath}/revision/{Uri.EscapeDataString(revision)}");
        call = patient ? call : call with { ConnectionRetries = 0 };
        using var json = await http.JsonAsync(call, cancellation).ConfigureAwait(false);
        return json.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("sha", out var sha)
            && sha.ValueKind == JsonValueKind.String && HubRepo.IsCommit(sha.GetString()!)
            ? sha.GetString()! : throw HubAnswer.NotTheHub(call);
    }

    /// <summary>The files of a commit, page after page.</summary>
    /// <exception cref="HubException">It cannot be listed.</exception>
    public async Task<HubListing> ListAsync(HubRepo repo, string commit, CancellationToken cancellation)
    {
        var files = new Dictionary<string, long>(StringComparer.Ordinal);
        var call = Call(repo, commit, $"api/{repo.ApiPath}/tree/{commit}?recursive=true");
        for (int page = 0; ; page++)
        {
            var next = await http.SendAsync(call, async (response, token) =>
            {
                using var json = await http.ReadJsonAsync(response, call, token).ConfigureAwait(false);
                Add(json.RootElement, files, call);
                return NextPage(response, call);
            }, cancellation).ConfigureAwait(false);
            if (next is null)
                return new(commit, files);
            if (page == MostPages || files.Count > MostFiles)
                throw new HubException(HubError.Protocol, $"The {repo} has too many files to list.");
            call = call with { Address = next };
        }
    }

    private HubCall Call(HubRepo repo, string revision, string path) =>
        new(HttpMethod.Get, http.Address(path), new($"the {repo}", repo, revision)) { Timeout = options.EtagTimeout };

    internal static void Add(JsonElement entries, Dictionary<string, long> files, HubCall call)
    {
        try
        {
            foreach (var entry in entries.EnumerateArray())
                if (entry.GetProperty("type").GetString() == "file") // no folders, and no links
                    files[entry.GetProperty("path").GetString()!] = Math.Max(0, entry.GetProperty("size").GetInt64());
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException
            or ArgumentNullException)
        {
            throw HubAnswer.NotTheHub(call, e);
        }
    }

    private Uri? NextPage(HttpResponseMessage response, HubCall call)
    {
        if (HubAnswer.Header(response, "Link") is not { } link || NextLink().Match(link) is not { Success: true } match)
            return null;
        return Uri.TryCreate(call.Address, match.Groups[1].Value, out var next) && http.IsHub(next)
            ? next : throw HubAnswer.NotTheHub(call);
    }

    [GeneratedRegex("<([^>]+)>\\s*;\\s*rel=\"?next\"?")]
    private static partial Regex NextLink();
}
