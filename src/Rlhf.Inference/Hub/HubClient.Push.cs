using System.Text;
using System.Text.Json;

namespace Rlhf.Hub;

public sealed partial class HubClient
{
    /// <summary>Who the token belongs to.</summary>
    /// <exception cref="HubException">There is no token, it is refused, or the Hub cannot be reached.</exception>
    public async Task<HubUser> WhoAmIAsync(CancellationToken cancellation = default)
    {
        RequireToken();
        var call = new HubCall(HttpMethod.Get, http.Address("api/whoami-v2"), new("the token's owner"))
        {
            Access = HubAccess.Token,
            Timeout = Options.EtagTimeout,
        };
        using var json = await http.JsonAsync(call, cancellation).ConfigureAwait(false);
        return HubUpload.Parsed(call, () =>
        {
            var root = json.RootElement;
            string? role = root.TryGetProperty("auth", out var auth) && auth.TryGetProperty("accessToken", out var token)
                && token.TryGetProperty("role", out var named) ? named.GetString() : null;
            (string Name, bool MayRead)[] organizations = !root.TryGetProperty("orgs", out var orgs) ? []
                : [.. orgs.EnumerateArray().Select(o => (o.GetProperty("name").GetString()!,
                    o.TryGetProperty("roleInOrg", out var may) && may.ValueKind == JsonValueKind.String && may.ValueEquals("read")))];
            return new HubUser(root.GetProperty("name").GetString()!, [.. organizations.Select(o => o.Name)], role)
            {
                ReadOnlyOrganizations = [.. organizations.Where(o => o.MayRead).Select(o => o.Name)],
            };
        });
    }

    /// <summary>
    /// Checks, before work begins whose result will be pushed, that there is a token that may write, that the repository's owner is the
    /// token's or one of its organizations, and that a repository that must be private is not public already.
    /// </summary>
    /// <param name="id">Such as <c>org/name</c>; a name alone is one of the token's owner.</param>
    /// <param name="isPrivate">The repository must be private.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="ArgumentException">The id is malformed.</exception>
    /// <exception cref="HubException">A push would fail; the message says why.</exception>
    public async Task<HubUser> CheckPushAsync(string id, bool isPrivate = false, CancellationToken cancellation = default)
    {
        var repo = HubRepo.Model(id);
        var user = await WhoAmIAsync(cancellation).ConfigureAwait(false);
        if (user.Role == "read")
            throw new HubException(HubError.Forbidden,
                $"The token of {HubText.Clean(user.Name)} may only read; make one that may write at "
                + $"{Options.Endpoint}settings/tokens.");
        if (!id.Contains('/'))
            repo = HubRepo.Model($"{user.Name}/{id}");
        string owner = repo.Id.Split('/')[0];
        bool IsOwner(string name) => string.Equals(name, owner, StringComparison.OrdinalIgnoreCase);
        if (!IsOwner(user.Name) && !user.Organizations.Any(IsOwner))
            throw new HubException(HubError.Forbidden,
                $"The token's owner {HubText.Clean(user.Name)} cannot push to {repo.Id}: {owner} is neither that user nor one of the "
                + $"organizations ({(user.Organizations.Count == 0 ? "none" : HubText.Clean(string.Join(", ", user.Organizations)))}).");
        if (user.ReadOnlyOrganizations.Any(IsOwner))
            throw new HubException(HubError.Forbidden,
                $"{HubText.Clean(user.Name)} may only read in the organization {owner}, so nothing can be pushed to {repo.Id}.");
        if (isPrivate)
            await new HubUpload(http, Options, repo, "main").CheckPrivateAsync(cancellation).ConfigureAwait(false);
        return user;
    }

    /// <summary>
    /// Pushes a model's folder as one commit; the repository and the branch are made when they do not exist. Hidden files,
    /// training checkpoints, keys and tokens are left out; what the Hub holds already is not sent again.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="id">Such as <c>org/name</c>; a name alone is one of the token's owner.</param>
    /// <param name="options">How; null takes the defaults.</param>
    /// <param name="progress">Called while large files are sent, from whatever thread, one call at a time.</param>
    /// <param name="cancellation">Stops; the repository stays as it was.</param>
    /// <exception cref="ArgumentException">The id or revision is malformed.</exception>
    /// <exception cref="HubException">It cannot be pushed; the message says why.</exception>
    public async Task<HubPushResult> PushFolderAsync(
        string folder, string id, HubPushOptions? options = null, Action<HubProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        options ??= new HubPushOptions();
        var repo = HubRepo.Model(id);
        string revision = HubRepo.CheckRevision(options.Revision);
        RequireToken();
        var files = PushFiles.Of(folder);
        if (options.ModelCard is { } card && files.All(f => f.Path != "README.md"))
        {
            byte[] content = Encoding.UTF8.GetBytes(card);
            files = [.. files, new PushFile("README.md", null, content, content.Length)];
        }
        if (!id.Contains('/'))
            repo = HubRepo.Model($"{(await WhoAmIAsync(cancellation).ConfigureAwait(false)).Name}/{id}");
        var upload = new HubUpload(http, Options, repo, revision);
        await upload.CreateAsync(options.Private, cancellation).ConfigureAwait(false);
        await upload.CreateBranchAsync(cancellation).ConfigureAwait(false);
        return await upload.PushAsync(files, options.Message, progress, cancellation).ConfigureAwait(false);
    }

    private void RequireToken()
    {
        if (Options.Offline)
            throw new HubException(HubError.NotCached, $"{Options.OfflineVariable} forbids to ask the Hub; unset it.");
        if (Options.Token is null)
            throw new HubException(HubError.Unauthorized,
                $"There is no Hub token; make one at {Options.Endpoint}settings/tokens and put it into HF_TOKEN.");
    }
}
