"""A photo becomes an asset: submit it, follow the job, fetch the file, and compare it with what the job says of it.

python job.py PHOTO ASSET, with the service's address in API and a key of it in KEY.
"""

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import TypeVar

from trellis_client import AuthenticatedClient
from trellis_client.api.generate import image_to_3d
from trellis_client.api.jobs import get_job, get_job_result, get_job_status
from trellis_client.models import ImageForm, Job, JobResponse, JobStatus, Problem, Quality, Status
from trellis_client.types import File

T = TypeVar("T")


def answered(answer: object, kind: type[T]) -> T:
    """What was answered; or the end, where it was refused."""
    if isinstance(answer, Problem):
        sys.exit(f"{answer.code}: {answer.detail}")
    if not isinstance(answer, kind):
        sys.exit(f"not what the document promises: {answer}")
    return answer


photo, asset = (Path(path) for path in sys.argv[1:])
client = AuthenticatedClient(base_url=os.environ["API"], token=os.environ["KEY"])

with photo.open("rb") as image:
    form = ImageForm(image=[File(image, file_name=photo.name)], quality=Quality.FAST)
    job = answered(image_to_3d.sync(client=client, body=form), JobResponse)
while True:
    now = answered(get_job_status.sync(job.id, client=client), JobStatus)
    print(job.id, now.status)
    if now.status == Status.COMPLETED:
        break
    if now.status in (Status.FAILED, Status.CANCELLED):
        sys.exit(f"the job did not complete: {now.error}")
    time.sleep(1)

outputs = answered(get_job.sync(job.id, client=client), Job).outputs
expected = next(output.sha256 for output in outputs if output.format_ == "glb")
result = get_job_result.sync_detailed(job.id, client=client)
if hashlib.sha256(result.content).hexdigest() != expected:
    sys.exit("the file is not the job's")
asset.write_bytes(result.content)
print(asset, len(result.content), "bytes, sha256", expected)
